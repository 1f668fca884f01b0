variable "app" {
  description = "Name of the application. Names the resources and is the value of their tag ingot:app."
  type        = string
  nullable    = false

  # A load balancer's name has at most 32 characters, and the security groups add a suffix to it; a launch template's has at
  # least 3. The same rules in pkg/config/validate.go.
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,22}[a-z0-9]$", var.app))
    error_message = "app has 3 to 24 lower case letters, digits and hyphens, begins with a letter and does not end with a hyphen."
  }

  # The beginnings that Elastic Load Balancing, EC2 (of security groups) and S3 (of the bucket of revisions) keep for
  # themselves.
  validation {
    condition     = !can(regex("^(internal-|sg-|xn--|sthree-|amzn-s3-demo-)", var.app))
    error_message = "app must not begin with internal-, sg-, xn--, sthree- or amzn-s3-demo-: AWS keeps such names for itself."
  }
}

variable "local" {
  description = "Whether this is the cloud on somebody's own machine, which does not have everything: count = var.local ? 0 : 1 leaves a resource out there."
  type        = bool
  default     = false
  nullable    = false
}

variable "port" {
  description = "TCP port that the service listens on; 0 for a worker, which listens nowhere and has no load balancer."
  type        = number
  default     = 8080
  nullable    = false

  validation {
    condition     = var.port >= 0 && var.port <= 65535 && floor(var.port) == var.port
    error_message = "port is a whole number from 0 to 65535."
  }
}

variable "health_path" {
  description = "Path that answers 200 once the service can serve."
  type        = string
  default     = "/healthz"
  nullable    = false

  validation {
    condition     = can(regex("^/[!-~]*$", var.health_path)) && length(var.health_path) <= 1024
    error_message = "health_path begins with a slash and has at most 1024 printable characters without spaces."
  }
}

variable "image_id" {
  description = "AMI of the launch template's first version. Releases make the later versions, so changing this afterwards does nothing."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^ami-([0-9a-f]{8}|[0-9a-f]{17})$", var.image_id))
    error_message = "image_id is an AMI ID, such as ami-0123456789abcdef0."
  }
}

variable "root_device" {
  description = "Device name of image_id's root volume. Releases give later versions their own image's, so changing this afterwards does nothing."
  type        = string
  default     = "/dev/xvda" # Debian's, and so that of every image baked from it
  nullable    = false

  validation {
    condition     = startswith(var.root_device, "/dev/")
    error_message = "root_device is a device name, such as /dev/xvda or /dev/sda1."
  }
}

variable "released" {
  description = "Whether a release exists. Until one does the group is empty: instances of the first image could never become healthy."
  type        = bool
  default     = false
  nullable    = false
}

variable "architecture" {
  description = "Processor architecture of the images: x86_64 or arm64. The instance type has to match."
  type        = string
  default     = "x86_64"
  nullable    = false

  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "architecture is x86_64 or arm64."
  }
}

variable "instance_type" {
  description = "EC2 instance type of the fleet."
  type        = string
  default     = "t3.micro"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*\\.[a-z0-9-]+$", var.instance_type))
    error_message = "instance_type is an EC2 instance type, such as t3.micro."
  }
}

variable "min_size" {
  description = "Fewest instances that the group holds once there is a release. At least 2 survive the loss of a zone."
  type        = number
  default     = 2
  nullable    = false

  validation {
    condition     = var.min_size >= 0 && floor(var.min_size) == var.min_size
    error_message = "min_size is a whole number, 0 or more."
  }
}

variable "max_size" {
  description = "Most instances that the group holds. A rollout may exceed it for a while, by max_healthy_percentage."
  type        = number
  default     = 4
  nullable    = false

  validation {
    condition     = var.max_size >= 1 && floor(var.max_size) == var.max_size
    error_message = "max_size is a whole number, 1 or more."
  }
}

variable "cpu_target" {
  description = "Average CPU utilisation of the group, in percent, that scaling aims at."
  type        = number
  default     = 60
  nullable    = false

  validation {
    condition     = var.cpu_target >= 10 && var.cpu_target <= 90
    error_message = "cpu_target is from 10 to 90 percent."
  }
}

variable "warmup" {
  description = "Seconds from an instance being in service until it counts, for scaling and for a rollout."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.warmup >= 0 && floor(var.warmup) == var.warmup
    error_message = "warmup is a whole number of seconds, 0 or more."
  }
}

variable "start_within" {
  description = "Seconds that the service may take from its start until it serves."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.start_within >= 1 && floor(var.start_within) == var.start_within
    error_message = "start_within is a whole number of seconds, 1 or more."
  }
}

variable "health_check_grace_period" {
  description = "Seconds that a new instance has for booting before the load balancer's health checks can replace it; no fewer than start_within."
  type        = number
  default     = 120
  nullable    = false

  validation {
    condition     = var.health_check_grace_period >= 0 && floor(var.health_check_grace_period) == var.health_check_grace_period
    error_message = "health_check_grace_period is a whole number of seconds, 0 or more."
  }
}

variable "health_check_interval" {
  description = "Seconds between two health checks of one target. Two results in a row change its state."
  type        = number
  default     = 10
  nullable    = false

  validation {
    condition     = var.health_check_interval >= 5 && var.health_check_interval <= 300 && floor(var.health_check_interval) == var.health_check_interval
    error_message = "health_check_interval is a whole number of seconds from 5 to 300."
  }
}

variable "deregistration_delay" {
  description = "Seconds that requests in flight have to finish after a target leaves the load balancer."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.deregistration_delay >= 0 && var.deregistration_delay <= 3600 && floor(var.deregistration_delay) == var.deregistration_delay
    error_message = "deregistration_delay is a whole number of seconds from 0 to 3600."
  }
}

variable "min_healthy_percentage" {
  description = "Percentage of the desired capacity that stays in service while EC2 Auto Scaling replaces instances."
  type        = number
  default     = 100
  nullable    = false

  validation {
    condition     = var.min_healthy_percentage >= 0 && var.min_healthy_percentage <= 100 && floor(var.min_healthy_percentage) == var.min_healthy_percentage
    error_message = "min_healthy_percentage is a whole number from 0 to 100."
  }
}

variable "max_healthy_percentage" {
  description = "Percentage of the desired capacity that the group may grow to while instances are replaced. At most 100 above the minimum."
  type        = number
  default     = 200
  nullable    = false

  validation {
    condition     = var.max_healthy_percentage >= 100 && var.max_healthy_percentage <= 200 && floor(var.max_healthy_percentage) == var.max_healthy_percentage
    error_message = "max_healthy_percentage is a whole number from 100 to 200."
  }
}

variable "certificate_arn" {
  description = "ARN of the ACM certificate for HTTPS. Empty: the load balancer serves plain HTTP."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.certificate_arn == "" || can(regex("^arn:[a-z-]+:(acm|iam):", var.certificate_arn))
    error_message = "certificate_arn is the ARN of a certificate in ACM or IAM, or empty."
  }
}

variable "domain" {
  description = "Host name of the service, for zone."
  type        = string
  default     = ""
  nullable    = false
}

variable "zone" {
  description = "Name of the public Route 53 zone in which the domain's record and certificate are made, such as example.com; empty for none."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.zone == "" || var.domain == var.zone || endswith(var.domain, ".${var.zone}")
    error_message = "zone is that of domain: example.com for www.example.com."
  }

  validation {
    condition     = var.zone == "" || var.certificate_arn == ""
    error_message = "zone brings a certificate of its own: leave certificate_arn out."
  }
}

variable "client_cidrs" {
  description = "IPv4 ranges that may reach the load balancer."
  type        = set(string)
  default     = ["0.0.0.0/0"]
  nullable    = false

  validation {
    condition     = alltrue([for cidr in var.client_cidrs : can(cidrnetmask(cidr))])
    error_message = "client_cidrs holds IPv4 ranges, such as 203.0.113.0/24."
  }
}

variable "egress_ports" {
  description = "TCP ports of everybody that instances may reach, beside 443."
  type        = set(number)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for port in var.egress_ports : port >= 1 && port <= 65535 && floor(port) == port && port != 443])
    error_message = "egress_ports holds whole numbers from 1 to 65535; 443 is among them already."
  }
}

variable "disk_size" {
  description = "GiB of the instances' root volumes; null for the image's."
  type        = number
  default     = null
}

variable "private" {
  description = "Whether the fleet is in private subnets, behind a NAT gateway in each zone, which costs by the hour and by the gigabyte."
  type        = bool
  default     = false
  nullable    = false
}

variable "cidr" {
  description = "IPv4 range of the VPC, /16 to /24. Its first two quarters become the two public subnets, the others the private ones."
  type        = string
  default     = "10.42.0.0/16"
  nullable    = false

  validation {
    condition     = can(cidrnetmask(var.cidr)) && can(regex("/(1[6-9]|2[0-4])$", var.cidr))
    error_message = "cidr is an IPv4 range from /16 to /24, such as 10.42.0.0/16."
  }
}

variable "deletion_protection" {
  description = "Whether the load balancer refuses to be deleted. Switch it on for production, and off before a destroy."
  type        = bool
  default     = false
  nullable    = false
}

variable "codedeploy" {
  description = "Whether every new instance passes a CodeDeploy deployment, which runs its image's self-check, before it serves."
  type        = bool
  default     = false
  nullable    = false
}

variable "github_repository" {
  description = "ORG/REPO on GitHub whose workflows plan, bake and deploy. Empty: there are no roles for them."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.github_repository == "" || can(regex("^[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+$", var.github_repository))
    error_message = "github_repository is ORG/REPO, or empty."
  }
}

variable "github_owner_id" {
  description = "ID of ORG, a number: `gh api repos/ORG/REPO --jq .owner.id`. A repository made or renamed since July 2026 needs it."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]*$", var.github_owner_id))
    error_message = "github_owner_id is a number, or empty."
  }
}

variable "github_repository_id" {
  description = "ID of the repository, a number: `gh api repos/ORG/REPO --jq .id`. Goes with github_owner_id."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]*$", var.github_repository_id))
    error_message = "github_repository_id is a number, or empty."
  }

  validation {
    condition     = (var.github_owner_id == "") == (var.github_repository_id == "")
    error_message = "github_owner_id and github_repository_id go together."
  }
}

variable "github_branch" {
  description = "Branch whose pushes bake and deploy."
  type        = string
  default     = "main"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9._/-]+$", var.github_branch))
    error_message = "github_branch is the name of one branch, without wildcards."
  }
}

variable "github_provider" {
  description = "Whether this stack makes the account's identity provider for GitHub. An account has one: false where it is there already."
  type        = bool
  default     = true
  nullable    = false
}

variable "github_old_packer" {
  description = "Whether workflows bake with a Packer before 1.7, which tags images only after they were made. Then the bake role may also tag, and so claim, images and snapshots without a tag. GitHub's own runners have a newer one."
  type        = bool
  default     = false
  nullable    = false
}

variable "state_bucket" {
  description = "S3 bucket of this stack's state, which the plan role reads. Empty: the state is not shared."
  type        = string
  default     = ""
  nullable    = false

  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html. The same rules in pkg/config/validate.go.
  validation {
    condition     = can(regex("^(|[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])$", var.state_bucket)) && !can(regex("\\.\\.|^[0-9]+\\.[0-9]+\\.[0-9]+\\.[0-9]+$", var.state_bucket))
    error_message = "state_bucket is the name of an S3 bucket, 3 to 63 lower case letters, digits, dots and hyphens, or empty."
  }

  validation {
    condition     = !can(regex("^(xn--|sthree-|amzn-s3-demo-)|(-s3alias|--ol-s3|\\.mrap|--x-s3|--table-s3)$", var.state_bucket))
    error_message = "state_bucket must not begin with xn--, sthree- or amzn-s3-demo-, nor end with -s3alias, --ol-s3, .mrap, --x-s3 or --table-s3: S3 keeps such names for itself."
  }
}
