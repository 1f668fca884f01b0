# Everything that a bake depends on is decided before Packer starts and comes as a variable: the templates look nothing up.

variable "region" {
  type        = string
  description = "AWS region to bake in, such as us-west-1."
}

variable "endpoint" {
  type        = string
  description = "URL of the EC2 API; empty for AWS itself."
  default     = ""
}

variable "source_ami" {
  type        = string
  description = "AMI to start from: Debian's for the base AMI, the base AMI for the application AMI."
}

variable "root_device" {
  type        = string
  description = "Root device name of source_ami."
  default     = "/dev/xvda"
}

variable "instance_type" {
  type        = string
  description = "Instance type to bake on."
  default     = "t3.micro"
}

variable "ssh_username" {
  type        = string
  description = "User that source_ami lets in with a key, and that may use sudo without a password."
  default     = "admin"
}

variable "security_group_id" {
  type        = string
  description = "Security group of the machine that bakes, which lets this machine reach its port 22 and nobody else."
}

variable "vpc_id" {
  type        = string
  description = "VPC to bake in; empty for the default one."
  default     = ""
}

variable "subnet_id" {
  type        = string
  description = "Subnet to bake in; empty for one of the default VPC."
  default     = ""
}

variable "associate_public_ip" {
  type        = bool
  description = "Whether the machine that bakes gets a public address; null leaves it to the subnet."
  default     = null
}

variable "encrypted" {
  type        = bool
  description = "Whether the root volume, and so the AMI's snapshot, is encrypted with the account's default key."
  default     = true
}

variable "polling_delay_seconds" {
  type        = number
  description = "Seconds between two looks at the state of an instance or image."
  default     = 5
}

variable "polling_max_attempts" {
  type        = number
  description = "Looks after which a wait is given up."
  default     = 360
}

variable "ami_name" {
  type        = string
  description = "Name of the AMI, unique in the account and region."
}

variable "ami_description" {
  type        = string
  description = "Description of the AMI, shown in the EC2 console."
  default     = ""
}

variable "tags" {
  type        = map(string)
  description = "Tags of the AMI and its snapshots."
  default     = {}
}

variable "run_tags" {
  type        = map(string)
  description = "Tags of the machine that bakes and its volumes, and of the key pair where Packer can tag that."
  default     = {}
}

variable "run" {
  type        = string
  description = "Name of this run, in the name of the temporary key pair."
}

variable "archive" {
  type        = string
  description = "Path of the provisioning archive: provision/, and service/ for the application AMI."
}

variable "inputs" {
  type        = map(string)
  description = "Environment variables for provision.sh, such as FINGERPRINT, RELEASE, PORT and HEALTH."
  default     = {}
}

variable "manifest" {
  type        = string
  description = "Path of the manifest to write; a file of its own for each build."
}

variable "manifest_data" {
  type        = map(string)
  description = "Custom data of the build in the manifest."
  default     = {}
}
