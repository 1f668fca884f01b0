# What a running instance may do: read the application's own parameters, and with CodeDeploy its revisions. It cannot
# write them, since /ingot/APP/release says which release is current.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

# How ARNs begin, and the ones that policies name. They are spelled out where taking them from the resource would make the
# two depend on each other.
locals {
  region  = data.aws_region.current.name
  account = data.aws_caller_identity.current.account_id
  prefix  = "arn:${data.aws_partition.current.partition}"

  # The same in pkg/targets.
  state_key = "ingot/${var.app}/${local.region}.tfstate"

  arn = {
    cloudwatch = "${local.prefix}:cloudwatch:${local.region}:${local.account}"
    codedeploy = "${local.prefix}:codedeploy:${local.region}:${local.account}"
    ec2        = "${local.prefix}:ec2:${local.region}:${local.account}"
    images     = "${local.prefix}:ec2:${local.region}:" # there is no account in those of images and snapshots
    group      = "${local.prefix}:autoscaling:${local.region}:${local.account}:autoScalingGroup:*:autoScalingGroupName/${var.app}"
    iam        = "${local.prefix}:iam::${local.account}"
    parameter  = "${local.prefix}:ssm:${local.region}:${local.account}:parameter/ingot/${var.app}"
    s3         = "${local.prefix}:s3:::"
  }
}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.${data.aws_partition.current.dns_suffix}"]
    }
  }
}

data "aws_iam_policy_document" "instance" {
  statement {
    sid     = "ReadOwnParameters"
    actions = ["ssm:GetParameter", "ssm:GetParameters", "ssm:GetParametersByPath"]

    resources = [local.arn.parameter, "${local.arn.parameter}/*"]
  }
}

# IAM has one name space for all regions: a prefix lets the same application run in two.
resource "aws_iam_role" "instance" {
  name_prefix        = "${var.app}-instance-"
  description        = "Instances of ${var.app}"
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

resource "aws_iam_role_policy" "instance" {
  name   = "read-own-parameters"
  role   = aws_iam_role.instance.id
  policy = data.aws_iam_policy_document.instance.json
}

resource "aws_iam_instance_profile" "instance" {
  name_prefix = "${var.app}-instance-"
  role        = aws_iam_role.instance.name
}
