# What workflows on GitHub may do, each with a role of its own and without a stored key:
#
#   plan    infra:plan, in pull requests and on the branch: reads, and holds the state's lock meanwhile
#   bake    base, the application AMI and sweep, on the branch
#   deploy  prod and rollback of images that exist, from the environment "production" alone, whose reviewers approve it
#
# None of them may apply: whoever changes the infrastructure and these roles does it with credentials of their own.

locals {
  github = var.github_repository != ""
  issuer = "token.actions.githubusercontent.com"

  # How the subjects of the repository's tokens begin, of which a repository has one: repo:ORG/REPO, or, where it was made,
  # renamed or moved since July 2026, repo:ORG@ID/REPO@ID. Both are compared as they are. A wildcard in the place of the
  # numbers would be another repository's way in: ORG@*/REPO@* also matches an environment of ORG/OTHER by the name of
  # x/REPO@1:environment:production. The first form cannot be had by taking over a name that became free, since a
  # repository that gets its name now has the second.
  github_repositories = !local.github ? [] : compact([
    "repo:${var.github_repository}",
    var.github_repository_id == "" ? "" : join("", [
      "repo:", split("/", var.github_repository)[0], "@", var.github_owner_id,
      "/", split("/", var.github_repository)[1], "@", var.github_repository_id,
    ]),
  ])
  branch = "ref:refs/heads/${var.github_branch}"

  # Not taken from the roles, whose policies they stand in.
  github_role_names = !local.github ? {} : { for role in ["plan", "bake", "deploy"] : role => "${var.app}-${role}-${local.region}" }

  github_roles = !local.github ? {} : {
    plan = {
      subjects = ["pull_request", local.branch]
      policy   = data.aws_iam_policy_document.plan.json
      hours    = 1
    }
    bake = {
      subjects = [local.branch]
      policy   = data.aws_iam_policy_document.bake.json
      hours    = 2
    }
    # As long as a job on GitHub's own runners can be: a rollout waits at its checkpoints and for its bake time.
    deploy = {
      subjects = ["environment:production"]
      policy   = data.aws_iam_policy_document.deploy.json
      hours    = 6
    }
  }

  # What belongs to this application, by its tag; and what is tagged so at its creation.
  own    = { test = "StringEquals", variable = "aws:ResourceTag/ingot:app", values = [var.app] }
  to_own = { test = "StringEquals", variable = "aws:RequestTag/ingot:app", values = [var.app] }

  # What a run may write on what it makes. It holds for a request without tags as well, so it never stands alone.
  our_tags = { test = "ForAllValues:StringLike", variable = "aws:TagKeys", values = ["Name", "ingot:*"] }

  # The temporary keys of Packer's runs, by their names: whose one is cannot be told from a key that is not there yet.
  run_keys = [for stage in ["app", "base"] : "${local.arn.ec2}:key-pair/ingot-${var.app}-${stage}-*"]
}

# AWS knows GitHub's certificates: no thumbprints.
resource "aws_iam_openid_connect_provider" "github" {
  count = local.github && var.github_provider ? 1 : 0

  url            = "https://${local.issuer}"
  client_id_list = ["sts.amazonaws.com"]
}

data "aws_iam_policy_document" "assume_github" {
  for_each = local.github_roles

  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = ["${local.arn.iam}:oidc-provider/${local.issuer}"]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.issuer}:aud"
      values   = ["sts.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.issuer}:sub"
      values   = [for pair in setproduct(local.github_repositories, each.value.subjects) : join(":", pair)]
    }
  }
}

# The names are known beforehand, so that a workflow can tell a role's ARN from the account and the region.
resource "aws_iam_role" "github" {
  for_each = local.github_roles

  name                 = local.github_role_names[each.key]
  description          = "GitHub Actions of ${var.github_repository}: ${each.key}"
  assume_role_policy   = data.aws_iam_policy_document.assume_github[each.key].json
  max_session_duration = each.value.hours * 3600

  depends_on = [aws_iam_openid_connect_provider.github]
}

resource "aws_iam_role_policy" "github" {
  for_each = local.github_roles

  name   = each.key
  role   = aws_iam_role.github[each.key].id
  policy = each.value.policy
}

data "aws_iam_policy_document" "plan" {
  # What an account is asked as a whole: descriptions know no resources. Nothing of it is anybody's data.
  statement {
    sid = "Look"
    actions = [
      "autoscaling:DescribeAutoScalingGroups",
      "autoscaling:DescribePolicies",
      "cloudwatch:DescribeAlarms",
      "ec2:DescribeAvailabilityZones",
      "ec2:DescribeImages",
      "ec2:DescribeInstanceTypeOfferings",
      "ec2:DescribeInternetGateways",
      "ec2:DescribeLaunchTemplateVersions",
      "ec2:DescribeLaunchTemplates",
      "ec2:DescribeNetworkAcls",
      "ec2:DescribeRouteTables",
      "ec2:DescribeSecurityGroupRules",
      "ec2:DescribeSecurityGroups",
      "ec2:DescribeSubnets",
      "ec2:DescribeVpcAttribute",
      "ec2:DescribeVpcs",
      "elasticloadbalancing:DescribeCapacityReservation",
      "elasticloadbalancing:DescribeListenerAttributes",
      "elasticloadbalancing:DescribeListeners",
      "elasticloadbalancing:DescribeLoadBalancerAttributes",
      "elasticloadbalancing:DescribeLoadBalancers",
      "elasticloadbalancing:DescribeTags",
      "elasticloadbalancing:DescribeTargetGroupAttributes",
      "elasticloadbalancing:DescribeTargetGroups",
      "ssm:DescribeParameters",
    ]
    resources = ["*"]
  }

  dynamic "statement" {
    for_each = var.private ? ["private"] : []

    content {
      sid       = "LookAtGateways"
      actions   = ["ec2:DescribeAddresses", "ec2:DescribeAddressesAttribute", "ec2:DescribeNatGateways"]
      resources = ["*"]
    }
  }

  dynamic "statement" {
    for_each = var.zone == "" ? [] : [var.zone]

    content {
      sid = "LookAtNames"
      actions = [
        "acm:DescribeCertificate",
        "acm:ListTagsForCertificate",
        "route53:GetHostedZone",
        "route53:ListHostedZones",
        "route53:ListResourceRecordSets",
        "route53:ListTagsForResource",
      ]
      resources = ["*"]
    }
  }

  statement {
    sid = "LookAtRoles"
    actions = [
      "iam:GetInstanceProfile",
      "iam:GetOpenIDConnectProvider",
      "iam:GetRole",
      "iam:GetRolePolicy",
      "iam:ListAttachedRolePolicies",
      "iam:ListRolePolicies",
    ]
    # Each by its name: APP-* would also be whatever belongs to an application APP-other.
    resources = concat(
      ["${local.arn.iam}:oidc-provider/${local.issuer}", aws_iam_instance_profile.instance.arn, aws_iam_role.instance.arn],
      aws_iam_role.codedeploy[*].arn,
      [for role in local.github_role_names : "${local.arn.iam}:role/${role}"],
    )
  }

  statement {
    sid     = "ReadParameters"
    actions = ["ssm:GetParameter", "ssm:ListTagsForResource"]
    # Terraform asks for the one with the bucket's name, the tool for the current release.
    resources = ["${local.arn.parameter}/*"]
  }

  statement {
    sid       = "LookAtAlarms"
    actions   = ["cloudwatch:ListTagsForResource"]
    resources = ["${local.arn.cloudwatch}:alarm:${var.app}-errors"]
  }

  dynamic "statement" {
    for_each = var.codedeploy ? [1] : []

    content {
      sid       = "LookAtCodeDeploy"
      actions   = ["codedeploy:GetApplication", "codedeploy:GetDeploymentGroup", "codedeploy:ListTagsForResource"]
      resources = ["${local.arn.codedeploy}:application:${var.app}", "${local.arn.codedeploy}:deploymentgroup:${var.app}/${var.app}"]
    }
  }

  # How the bucket is set up, but not what is in it.
  dynamic "statement" {
    for_each = aws_s3_bucket.revisions[*].arn

    content {
      sid = "LookAtRevisionsBucket"
      actions = [
        "s3:GetAccelerateConfiguration",
        "s3:GetBucketAcl",
        "s3:GetBucketCORS",
        "s3:GetBucketLogging",
        "s3:GetBucketObjectLockConfiguration",
        "s3:GetBucketPolicy",
        "s3:GetBucketPublicAccessBlock",
        "s3:GetBucketRequestPayment",
        "s3:GetBucketTagging",
        "s3:GetBucketVersioning",
        "s3:GetBucketWebsite",
        "s3:GetEncryptionConfiguration",
        "s3:GetLifecycleConfiguration",
        "s3:GetReplicationConfiguration",
        "s3:ListBucket",
      ]
      resources = [statement.value]
    }
  }

  dynamic "statement" {
    for_each = var.state_bucket != "" ? [1] : []

    content {
      sid       = "FindState"
      actions   = ["s3:ListBucket"]
      resources = ["${local.arn.s3}${var.state_bucket}"]
    }
  }

  dynamic "statement" {
    for_each = var.state_bucket != "" ? [1] : []

    content {
      sid       = "ReadState"
      actions   = ["s3:GetObject"]
      resources = ["${local.arn.s3}${var.state_bucket}/${local.state_key}"]
    }
  }

  dynamic "statement" {
    for_each = var.state_bucket != "" ? [1] : []

    content {
      sid       = "LockState"
      actions   = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
      resources = ["${local.arn.s3}${var.state_bucket}/${local.state_key}.tflock"]
    }
  }
}

data "aws_iam_policy_document" "bake" {
  statement {
    sid = "Look"
    actions = [
      "ec2:DescribeImages",
      "ec2:DescribeInstanceTypeOfferings",
      "ec2:DescribeInstances",
      "ec2:DescribeKeyPairs",
      "ec2:DescribeRouteTables",
      "ec2:DescribeSecurityGroups",
      "ec2:DescribeSnapshots",
      "ec2:DescribeSubnets",
      "ec2:DescribeVolumes",
      "ec2:DescribeVpcs",
    ]
    resources = ["*"]
  }

  # A machine to bake on says whose it is from its first moment, and so do its volumes and the group that lets Packer in.
  # It gets no role: this one may pass none on.
  statement {
    sid       = "RunTagged"
    actions   = ["ec2:RunInstances"]
    resources = ["${local.arn.ec2}:instance/*", "${local.arn.ec2}:volume/*"]

    condition {
      test     = local.to_own.test
      variable = local.to_own.variable
      values   = local.to_own.values
    }
  }

  statement {
    sid     = "RunFrom"
    actions = ["ec2:RunInstances"]
    resources = concat(local.run_keys, [
      "${local.arn.ec2}:network-interface/*",
      "${local.arn.ec2}:subnet/*",
      "${local.arn.images}:image/*",
      "${local.arn.images}:snapshot/*",
    ])
  }

  statement {
    sid       = "RunIn"
    actions   = ["ec2:RunInstances"]
    resources = ["${local.arn.ec2}:security-group/*"]

    condition {
      test     = local.own.test
      variable = local.own.variable
      values   = local.own.values
    }
  }

  statement {
    sid       = "MakeSecurityGroup"
    actions   = ["ec2:CreateSecurityGroup"]
    resources = ["${local.arn.ec2}:security-group/*"]

    condition {
      test     = local.to_own.test
      variable = local.to_own.variable
      values   = local.to_own.values
    }
  }

  statement {
    sid       = "InVPC"
    actions   = ["ec2:CreateSecurityGroup"]
    resources = ["${local.arn.ec2}:vpc/*"]
  }

  statement {
    sid       = "KeyPairs"
    actions   = ["ec2:CreateKeyPair", "ec2:DeleteKeyPair"]
    resources = local.run_keys
  }

  statement {
    sid       = "TagWhatIsMade"
    actions   = ["ec2:CreateTags"]
    resources = ["${local.arn.ec2}:*/*", "${local.arn.images}:*/*"]

    condition {
      test     = local.to_own.test
      variable = local.to_own.variable
      values   = local.to_own.values
    }

    condition {
      test     = local.our_tags.test
      variable = local.our_tags.variable
      values   = local.our_tags.values
    }

    condition {
      test     = "StringEquals"
      variable = "ec2:CreateAction"
      values   = ["CreateImage", "CreateKeyPair", "CreateSecurityGroup", "RunInstances"]
    }
  }

  # An image and its snapshots say whose they are from their first moment, as Packer's plugin for AWS has them made since
  # 1.7; see github_old_packer for others. So there is never a reason to touch what has no tag, or another's.
  statement {
    sid       = "MakeImage"
    actions   = ["ec2:CreateImage"]
    resources = ["${local.arn.images}:image/*", "${local.arn.images}:snapshot/*"]

    condition {
      test     = local.to_own.test
      variable = local.to_own.variable
      values   = local.to_own.values
    }
  }

  statement {
    sid       = "Images"
    actions   = ["ec2:DeleteSnapshot", "ec2:DeregisterImage", "ec2:ModifyImageAttribute"]
    resources = ["${local.arn.images}:image/*", "${local.arn.images}:snapshot/*"]

    condition {
      test     = local.own.test
      variable = local.own.variable
      values   = local.own.values
    }
  }

  # They stay this application's.
  statement {
    sid       = "TagImages"
    actions   = ["ec2:CreateTags"]
    resources = ["${local.arn.images}:image/*", "${local.arn.images}:snapshot/*"]

    condition {
      test     = local.own.test
      variable = local.own.variable
      values   = local.own.values
    }

    condition {
      test     = local.to_own.test
      variable = local.to_own.variable
      values   = local.to_own.values
    }

    condition {
      test     = local.our_tags.test
      variable = local.our_tags.variable
      values   = local.our_tags.values
    }
  }

  # Packer before 1.7 has an image made, sets its description, and only then tags it and its snapshots. That cannot be told
  # from claiming what others left without a tag.
  dynamic "statement" {
    for_each = var.github_old_packer ? [1] : []

    content {
      sid       = "MakeUntaggedImage"
      actions   = ["ec2:CreateImage"]
      resources = ["${local.arn.images}:image/*", "${local.arn.images}:snapshot/*"]
    }
  }

  dynamic "statement" {
    for_each = var.github_old_packer ? [1] : []

    content {
      sid       = "DescribeUntaggedImage"
      actions   = ["ec2:ModifyImageAttribute"]
      resources = ["${local.arn.images}:image/*"]

      condition {
        test     = "Null"
        variable = local.own.variable
        values   = ["true"]
      }
    }
  }

  dynamic "statement" {
    for_each = var.github_old_packer ? [1] : []

    content {
      sid       = "TagUntaggedImage"
      actions   = ["ec2:CreateTags"]
      resources = ["${local.arn.images}:image/*", "${local.arn.images}:snapshot/*"]

      condition {
        test     = "Null"
        variable = local.own.variable
        values   = ["true"]
      }

      condition {
        test     = local.to_own.test
        variable = local.to_own.variable
        values   = local.to_own.values
      }

      condition {
        test     = local.our_tags.test
        variable = local.our_tags.variable
        values   = local.our_tags.values
      }
    }
  }

  # Instances and groups of a run. The fleet has the application's tag too, but belongs to no run.
  statement {
    sid = "OwnRuns"
    actions = [
      "ec2:AuthorizeSecurityGroupIngress",
      "ec2:CreateImage",
      "ec2:DeleteSecurityGroup",
      "ec2:StopInstances",
      "ec2:TerminateInstances",
    ]
    resources = ["${local.arn.ec2}:instance/*", "${local.arn.ec2}:security-group/*"]

    condition {
      test     = local.own.test
      variable = local.own.variable
      values   = local.own.values
    }

    condition {
      test     = "Null"
      variable = "aws:ResourceTag/ingot:run"
      values   = ["false"]
    }
  }
}

data "aws_iam_policy_document" "deploy" {
  statement {
    sid = "Look"
    actions = [
      "autoscaling:DescribeAutoScalingGroups",
      "autoscaling:DescribeInstanceRefreshes",
      "autoscaling:DescribeLifecycleHooks",
      "autoscaling:DescribeScalingActivities",
      "cloudwatch:DescribeAlarms",
      "ec2:DescribeImages",
      "ec2:DescribeInstances",
      "ec2:DescribeLaunchTemplateVersions",
      "elasticloadbalancing:DescribeListeners",
      "elasticloadbalancing:DescribeLoadBalancers",
      "elasticloadbalancing:DescribeTargetGroups",
      "elasticloadbalancing:DescribeTargetHealth",
    ]
    resources = ["*"]
  }

  statement {
    sid = "RollOut"
    actions = [
      "autoscaling:CancelInstanceRefresh",
      "autoscaling:RollbackInstanceRefresh",
      "autoscaling:StartInstanceRefresh",
    ]
    resources = [local.arn.group]
  }

  # The first release fills the group, and one that failed is taken out of it again: its size within its bounds, and what it
  # launches. Never other subnets, nor a launch configuration, nor a template without a number.
  statement {
    sid       = "FillGroup"
    actions   = ["autoscaling:UpdateAutoScalingGroup"]
    resources = [local.arn.group]

    condition {
      test     = "Bool"
      variable = "autoscaling:LaunchTemplateVersionSpecified"
      values   = ["true"]
    }

    condition {
      test     = "Null"
      variable = "autoscaling:LaunchConfigurationName"
      values   = ["true"]
    }

    # Not in the request, as a rule: then it holds.
    condition {
      test     = "NumericLessThanEqualsIfExists"
      variable = "autoscaling:MaxSize"
      values   = [tostring(var.max_size)]
    }

    condition {
      test     = "NumericLessThanEqualsIfExists"
      variable = "autoscaling:MinSize"
      values   = [tostring(var.max_size)]
    }

    condition {
      test     = "ForAllValues:StringEquals"
      variable = "autoscaling:VPCZoneIdentifiers"
      values   = local.subnets[*].id
    }
  }

  statement {
    sid       = "MakeRelease"
    actions   = ["ec2:CreateLaunchTemplateVersion", "ec2:ModifyLaunchTemplate"]
    resources = [aws_launch_template.app.arn]
  }

  # The last words of an instance that did not live.
  statement {
    sid       = "ReadConsoles"
    actions   = ["ec2:GetConsoleOutput"]
    resources = ["${local.arn.ec2}:instance/*"]

    condition {
      test     = local.own.test
      variable = local.own.variable
      values   = local.own.values
    }
  }

  # EC2 Auto Scaling asks whether its caller could launch what the launch template says: run it, tag it, give it its role.
  # What the template says cannot be said otherwise in a request: no other image, type, user data or security group.
  statement {
    sid     = "LaunchRelease"
    actions = ["ec2:RunInstances"]
    resources = [
      "${local.arn.ec2}:instance/*",
      "${local.arn.ec2}:security-group/*",
      "${local.arn.ec2}:volume/*",
      "${local.arn.images}:image/*",
      "${local.arn.images}:snapshot/*",
    ]

    condition {
      test     = "ArnEquals"
      variable = "ec2:LaunchTemplate"
      values   = [aws_launch_template.app.arn]
    }

    condition {
      test     = "Bool"
      variable = "ec2:IsLaunchTemplateResource"
      values   = ["true"]
    }
  }

  # The subnet is the group's, and the interface is made in it: the template names neither.
  statement {
    sid       = "LaunchIn"
    actions   = ["ec2:RunInstances"]
    resources = concat(local.subnets[*].arn, ["${local.arn.ec2}:network-interface/*", aws_launch_template.app.arn])

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

  statement {
    sid       = "ReadParameters"
    actions   = ["ssm:GetParameter", "ssm:GetParameterHistory"]
    resources = ["${local.arn.parameter}/*"]
  }

  statement {
    sid       = "MovePointer"
    actions   = ["ssm:PutParameter"]
    resources = ["${local.arn.parameter}/release", "${local.arn.parameter}/rollout"]
  }

  dynamic "statement" {
    for_each = var.codedeploy ? [1] : []

    content {
      sid = "RecordRelease"
      actions = [
        "codedeploy:BatchGetDeployments",
        "codedeploy:CreateDeployment",
        "codedeploy:GetApplicationRevision",
        "codedeploy:GetDeploymentConfig",
        "codedeploy:ListDeployments",
        "codedeploy:RegisterApplicationRevision",
      ]
      resources = [
        "${local.arn.codedeploy}:application:${var.app}",
        "${local.arn.codedeploy}:deploymentconfig:CodeDeployDefault.*",
        "${local.arn.codedeploy}:deploymentgroup:${var.app}/${var.app}",
      ]
    }
  }

  # The first release attaches the Auto Scaling group to CodeDeploy, and a hook that is gone is put back by detaching and
  # attaching it. It works with the role that it has.
  dynamic "statement" {
    for_each = var.codedeploy ? [1] : []

    content {
      sid       = "KeepGate"
      actions   = ["codedeploy:BatchGetDeploymentGroups", "codedeploy:UpdateDeploymentGroup"]
      resources = ["${local.arn.codedeploy}:deploymentgroup:${var.app}/${var.app}"]
    }
  }

  dynamic "statement" {
    for_each = aws_iam_role.codedeploy[*].arn

    content {
      sid       = "PassCodeDeployRole"
      actions   = ["iam:PassRole"]
      resources = [statement.value]

      condition {
        test     = "StringEquals"
        variable = "iam:PassedToService"
        values   = ["codedeploy.${data.aws_partition.current.dns_suffix}"]
      }
    }
  }

  # The targets of a deployment know no resources.
  dynamic "statement" {
    for_each = var.codedeploy ? [1] : []

    content {
      sid       = "LookAtDeployments"
      actions   = ["codedeploy:BatchGetDeploymentTargets", "codedeploy:ListDeploymentTargets"]
      resources = ["*"]
    }
  }

  dynamic "statement" {
    for_each = aws_s3_bucket.revisions[*].arn

    content {
      sid       = "UploadRevision"
      actions   = ["s3:GetObject", "s3:PutObject"]
      resources = ["${statement.value}/*"]
    }
  }

  # Without it S3 does not say that an object is missing, but that it may not be seen.
  dynamic "statement" {
    for_each = aws_s3_bucket.revisions[*].arn

    content {
      sid       = "FindRevision"
      actions   = ["s3:ListBucket"]
      resources = [statement.value]
    }
  }
}
