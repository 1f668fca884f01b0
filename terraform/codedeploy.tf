# CodeDeploy is the gate that no instance passes unchecked. A revision holds no software, that is all in the image; its
# hooks run the image's own self-check. CodeDeploy puts a launching lifecycle hook on the Auto Scaling group: a new
# instance waits in Pending:Wait, outside the load balancer, until the last successful revision's hooks have passed on it,
# and is terminated where they do not. The hook is CodeDeploy's and not the group's, so no plan sees it.
#
# No alarm belongs here. CodeDeploy stops every deployment of a group while one of the group's alarms is in ALARM, and those
# that launch an instance are deployments too: the alarm that ends a bad release would then end each instance of the old
# release as well, on the way back, at scaling out, and in the place of one that died. Alarms guard the instance refresh.
# https://docs.aws.amazon.com/codedeploy/latest/userguide/monitoring-create-alarms.html
#
# Nothing is ever copied: COPY_AUTO_SCALING_GROUP would make a group that Terraform does not know.

locals {
  codedeploy = var.codedeploy ? 1 : 0
}

resource "aws_codedeploy_app" "app" {
  count = local.codedeploy

  name             = var.app
  compute_platform = "Server"
}

resource "aws_codedeploy_deployment_group" "app" {
  count = local.codedeploy

  app_name              = aws_codedeploy_app.app[0].name
  deployment_group_name = var.app
  service_role_arn      = aws_iam_role.codedeploy[0].arn

  # A deployment over the fleet changes nothing on an instance and interrupts nothing that it serves, so none leaves the
  # load balancer for it. Traffic control would take out as many instances at once as the configuration below allows, which
  # is all of them, and one at a time would still halve a fleet of two for half a minute each: requests would fail, or wait,
  # for the sake of a check. A new instance is outside the load balancer anyway until it has passed.
  deployment_style {
    deployment_type   = "IN_PLACE"
    deployment_option = "WITHOUT_TRAFFIC_CONTROL"
  }

  # The whole fleet is asked at once. This configuration calls a deployment successful when any one instance passed: whoever
  # makes a deployment looks at every instance's result.
  deployment_config_name = "CodeDeployDefault.AllAtOnce"

  # An instance that was launched while a deployment ran has passed the revision before. It asks the same question.
  outdated_instances_strategy = "IGNORE"

  auto_rollback_configuration {
    enabled = true
    events  = ["DEPLOYMENT_FAILURE"]
  }

  # The group goes last: as long as it has the hook, somebody has to answer it.
  depends_on = [aws_autoscaling_group.app, aws_iam_role_policy.codedeploy]

  # The Auto Scaling group is attached by the release tool, once a deployment has succeeded. Before that there is nothing to
  # check a new instance with, and what CodeDeploy does with one that waits then is not documented; its troubleshooting
  # guide has the group detached until a first deployment has succeeded.
  # https://docs.aws.amazon.com/codedeploy/latest/userguide/troubleshooting-auto-scaling.html
  lifecycle {
    ignore_changes = [autoscaling_groups]
  }
}

# What CodeDeploy itself may do here: keep its hook on this one group, and look. AWS's own policy, AWSCodeDeployRole, could
# make and delete any Auto Scaling group and take any instance out of any load balancer.
#
# The commercial partition's names: in China the service has another one in each region.

data "aws_iam_policy_document" "assume_codedeploy" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["codedeploy.${data.aws_partition.current.dns_suffix}"]
    }

    # Not for somebody else's deployment group that names this role.
    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = ["${local.arn.codedeploy}:deploymentgroup:${var.app}/${var.app}"]
    }
  }
}

data "aws_iam_policy_document" "codedeploy" {
  # Describing knows no resources.
  statement {
    sid = "Look"
    actions = [
      "autoscaling:DescribeAutoScalingGroups",
      "autoscaling:DescribeLifecycleHooks",
      "ec2:DescribeInstances",
      "ec2:DescribeInstanceStatus",
    ]
    resources = ["*"]
  }

  statement {
    sid = "HoldNewInstances"
    actions = [
      "autoscaling:CompleteLifecycleAction",
      "autoscaling:DeleteLifecycleHook",
      "autoscaling:PutLifecycleHook",
      "autoscaling:RecordLifecycleActionHeartbeat",
    ]
    resources = [local.arn.group]
  }

  # CodeDeploy launches nothing here. But AWS asks for the next three of the role of every group whose Auto Scaling group
  # has a launch template, and does not say that only blue/green deployments need them: so it has them for this template
  # and this instance role.
  # https://docs.aws.amazon.com/codedeploy/latest/userguide/getting-started-create-service-role.html
  statement {
    sid       = "LaunchFromTemplate"
    actions   = ["ec2:RunInstances"]
    resources = ["${local.arn.ec2}:*/*", "${local.arn.images}:image/*", "${local.arn.images}:snapshot/*"]

    condition {
      test     = "ArnEquals"
      variable = "ec2:LaunchTemplate"
      values   = [aws_launch_template.app.arn]
    }
  }

  statement {
    sid       = "TagLaunched"
    actions   = ["ec2:CreateTags"]
    resources = ["${local.arn.ec2}:instance/*", "${local.arn.ec2}:volume/*"]

    condition {
      test     = "StringEquals"
      variable = "ec2:CreateAction"
      values   = ["RunInstances"]
    }

    condition {
      test     = local.to_own.test
      variable = local.to_own.variable
      values   = local.to_own.values
    }
  }

  statement {
    sid       = "PassInstanceRole"
    actions   = ["iam:PassRole"]
    resources = [aws_iam_role.instance.arn]

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ec2.${data.aws_partition.current.dns_suffix}"]
    }
  }
}

resource "aws_iam_role" "codedeploy" {
  count = local.codedeploy

  name_prefix        = "${var.app}-codedeploy-"
  description        = "CodeDeploy of ${var.app}"
  assume_role_policy = data.aws_iam_policy_document.assume_codedeploy.json
}

resource "aws_iam_role_policy" "codedeploy" {
  count = local.codedeploy

  name   = "hold-new-instances"
  role   = aws_iam_role.codedeploy[0].id
  policy = data.aws_iam_policy_document.codedeploy.json
}

# The revisions: a few kilobytes each, named after their content, written by releases and read by instances.

resource "aws_s3_bucket" "revisions" {
  count = local.codedeploy

  # Bucket names are the whole world's: the provider adds a random end.
  bucket_prefix = "${var.app}-revisions-"

  # Every revision can be made again from the repository, and nothing reads them once the application is gone.
  force_destroy = true
}

resource "aws_s3_bucket_public_access_block" "revisions" {
  count = local.codedeploy

  bucket                  = aws_s3_bucket.revisions[0].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_versioning" "revisions" {
  count = local.codedeploy

  bucket = aws_s3_bucket.revisions[0].id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "revisions" {
  count = local.codedeploy

  bucket = aws_s3_bucket.revisions[0].id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

# Current versions stay: new instances may need the last successful revision at any time.
resource "aws_s3_bucket_lifecycle_configuration" "revisions" {
  count = local.codedeploy

  bucket = aws_s3_bucket.revisions[0].id

  rule {
    id     = "old-versions"
    status = "Enabled"

    filter {}

    noncurrent_version_expiration {
      noncurrent_days = 30
    }

    expiration {
      expired_object_delete_marker = true
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }

  depends_on = [aws_s3_bucket_versioning.revisions]
}

data "aws_iam_policy_document" "revisions" {
  count = local.codedeploy

  statement {
    sid       = "TLSOnly"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.revisions[0].arn, "${aws_s3_bucket.revisions[0].arn}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "revisions" {
  count = local.codedeploy

  bucket = aws_s3_bucket.revisions[0].id
  policy = data.aws_iam_policy_document.revisions[0].json

  # S3 takes one change of a bucket's access at a time.
  depends_on = [aws_s3_bucket_public_access_block.revisions]
}

# Releases find the bucket with one call, without Terraform's state.
resource "aws_ssm_parameter" "revisions" {
  count = local.codedeploy

  name        = "/ingot/${var.app}/revisions"
  description = "S3 bucket of the CodeDeploy revisions of ${var.app}"
  type        = "String"
  value       = aws_s3_bucket.revisions[0].id
}

# The agent on an instance fetches revisions with the instance's role. It needs to list nothing: it is told the key.

data "aws_iam_policy_document" "read_revisions" {
  count = local.codedeploy

  statement {
    sid       = "ReadRevisions"
    actions   = ["s3:GetObject", "s3:GetObjectVersion"]
    resources = ["${aws_s3_bucket.revisions[0].arn}/*"]
  }
}

resource "aws_iam_role_policy" "read_revisions" {
  count = local.codedeploy

  name   = "read-revisions"
  role   = aws_iam_role.instance.id
  policy = data.aws_iam_policy_document.read_revisions[0].json
}
