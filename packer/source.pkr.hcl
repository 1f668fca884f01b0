# The machine that bakes. Settings that only newer versions of Packer know (instance metadata v2, an Ed25519 key) are added by
# pkg/packer, so that this folder suits 1.6.6 as well.

source "amazon-ebs" "debian" {
  region                      = var.region
  custom_endpoint_ec2         = var.endpoint
  max_retries                 = 10   # of a call that is throttled or fails at AWS: as often as Ingot itself
  force_deregister            = true # names are unique; without it Packer looks for the name with a call that it never repeats
  skip_region_validation      = true
  skip_metadata_api_check     = true
  vpc_id                      = var.vpc_id
  subnet_id                   = var.subnet_id
  associate_public_ip_address = var.associate_public_ip

  source_ami              = var.source_ami
  instance_type           = var.instance_type
  temporary_key_pair_name = "ingot-${var.run}"
  run_tags                = var.run_tags
  run_volume_tags         = var.run_tags

  # An encrypted volume makes an encrypted snapshot. (encrypt_boot would copy the finished AMI instead.)
  launch_block_device_mappings {
    device_name           = var.root_device
    volume_type           = "gp3"
    iops                  = 3000 # what a gp3 volume has at no charge; Packer 1.6.6 wants them said
    throughput            = 125
    encrypted             = var.encrypted
    delete_on_termination = true
  }

  communicator      = "ssh"
  ssh_username      = var.ssh_username
  ssh_timeout       = "5m"
  security_group_id = var.security_group_id

  ami_name        = var.ami_name
  ami_description = var.ami_description
  tags            = var.tags

  aws_polling {
    delay_seconds = var.polling_delay_seconds
    max_attempts  = var.polling_max_attempts
  }
}

locals {
  # Where the archive is unpacked. On disk, unlike /tmp; emptied by the seal.
  work = "/var/tmp/ingot"

  unpack = "mkdir -p ${local.work} && tar -xzf ${local.work}.tar.gz -C ${local.work} --no-same-owner"
  stage  = "${local.work}/provision/provision.sh"

  environment = [for name, value in var.inputs : "${name}=${value}"]
  as_root     = "sudo env {{ .Vars }} {{ .Path }}"
}
