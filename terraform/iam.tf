# What a running instance may do: read the application's own parameters. It cannot write them, since /ingot/APP/release
# says which release is current.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

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

    resources = [
      for path in [var.app, "${var.app}/*"] : join(":", [
        "arn", data.aws_partition.current.partition, "ssm", data.aws_region.current.name,
        data.aws_caller_identity.current.account_id, "parameter/ingot/${path}",
      ])
    ]
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
