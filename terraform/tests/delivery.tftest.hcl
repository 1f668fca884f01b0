# What the stack promises about CodeDeploy and GitHub Actions, on a mocked provider.

mock_provider "aws" {
  mock_data "aws_availability_zones" {
    defaults = {
      names = ["us-west-1a", "us-west-1b"]
    }
  }

  mock_data "aws_ec2_instance_type_offerings" {
    defaults = {
      locations = ["us-west-1a", "us-west-1b"]
    }
  }

  mock_data "aws_iam_policy_document" {
    defaults = {
      json = "{}"
    }
  }

  mock_data "aws_region" {
    defaults = {
      name = "us-west-1"
    }
  }

  mock_data "aws_caller_identity" {
    defaults = {
      account_id = "123456789012"
    }
  }

  mock_data "aws_partition" {
    defaults = {
      partition  = "aws"
      dns_suffix = "amazonaws.com"
    }
  }

  mock_resource "aws_lb" {
    defaults = {
      arn        = "arn:aws:elasticloadbalancing:us-west-1:123456789012:loadbalancer/app/hello/0123456789abcdef"
      arn_suffix = "app/hello/0123456789abcdef"
    }
  }

  mock_resource "aws_lb_target_group" {
    defaults = {
      arn = "arn:aws:elasticloadbalancing:us-west-1:123456789012:targetgroup/hello/0123456789abcdef"
    }
  }

  mock_resource "aws_iam_instance_profile" {
    defaults = {
      arn = "arn:aws:iam::123456789012:instance-profile/hello"
    }
  }

  mock_resource "aws_iam_role" {
    defaults = {
      arn = "arn:aws:iam::123456789012:role/hello"
    }
  }

  mock_resource "aws_launch_template" {
    defaults = {
      id              = "lt-0123456789abcdef0"
      arn             = "arn:aws:ec2:us-west-1:123456789012:launch-template/lt-0123456789abcdef0"
      default_version = 1
    }
  }

  mock_resource "aws_s3_bucket" {
    defaults = {
      id  = "hello-revisions-0123"
      arn = "arn:aws:s3:::hello-revisions-0123"
    }
  }
}

variables {
  app      = "hello"
  image_id = "ami-0123456789abcdef0"
}

run "off_by_itself" {
  command = plan

  assert {
    condition = length(concat(
      aws_codedeploy_app.app, aws_codedeploy_deployment_group.app, aws_s3_bucket.revisions, aws_ssm_parameter.revisions,
      aws_iam_role.codedeploy, aws_iam_role_policy.read_revisions,
    )) == 0
    error_message = "Without CodeDeploy there is nothing of it."
  }

  assert {
    condition     = length(aws_iam_openid_connect_provider.github) == 0 && length(aws_iam_role.github) == 0 && output.github_role_arns == {}
    error_message = "Without a repository there are no roles for it."
  }
}

run "codedeploy_on" {
  variables {
    codedeploy = true
  }

  assert {
    condition     = aws_codedeploy_app.app[0].name == "hello" && aws_codedeploy_deployment_group.app[0].deployment_group_name == "hello"
    error_message = "Clients find application and deployment group by the application's name."
  }

  assert {
    condition     = try(length(aws_codedeploy_deployment_group.app[0].autoscaling_groups), 0) == 0
    error_message = "The Auto Scaling group is attached once a deployment has succeeded, by the release tool."
  }

  assert {
    condition = (
      aws_codedeploy_deployment_group.app[0].deployment_style[0].deployment_option == "WITHOUT_TRAFFIC_CONTROL" &&
      aws_codedeploy_deployment_group.app[0].deployment_style[0].deployment_type == "IN_PLACE" &&
      length(aws_codedeploy_deployment_group.app[0].blue_green_deployment_config) == 0
    )
    error_message = "A deployment takes no instance out of the load balancer, and copies no group."
  }

  assert {
    condition = (
      aws_codedeploy_deployment_group.app[0].auto_rollback_configuration[0].enabled &&
      aws_codedeploy_deployment_group.app[0].auto_rollback_configuration[0].events == toset(["DEPLOYMENT_FAILURE"]) &&
      length(aws_codedeploy_deployment_group.app[0].alarm_configuration) == 0
    )
    error_message = "A deployment that fails is rolled back, and no alarm stops one."
  }

  assert {
    condition     = aws_ssm_parameter.revisions[0].name == "/ingot/hello/revisions" && aws_ssm_parameter.revisions[0].value == "hello-revisions-0123"
    error_message = "Clients find the bucket by its parameter."
  }

  assert {
    condition = (
      aws_s3_bucket_public_access_block.revisions[0].block_public_acls && aws_s3_bucket_public_access_block.revisions[0].block_public_policy &&
      aws_s3_bucket_public_access_block.revisions[0].ignore_public_acls && aws_s3_bucket_public_access_block.revisions[0].restrict_public_buckets &&
      aws_s3_bucket_versioning.revisions[0].versioning_configuration[0].status == "Enabled"
    )
    error_message = "The bucket is private and keeps versions."
  }

  assert {
    condition     = data.aws_iam_policy_document.read_revisions[0].statement[0].resources == toset(["arn:aws:s3:::hello-revisions-0123/*"])
    error_message = "Instances read the revisions and nothing else."
  }

  assert {
    condition     = alltrue([for s in data.aws_iam_policy_document.codedeploy.statement : s.resources == toset(["arn:aws:autoscaling:us-west-1:123456789012:autoScalingGroup:*:autoScalingGroupName/hello"]) if length([for a in s.actions : a if startswith(a, "autoscaling:") && !startswith(a, "autoscaling:Describe")]) > 0])
    error_message = "CodeDeploy changes nothing but this group's hooks."
  }

  assert {
    condition = { for s in data.aws_iam_policy_document.codedeploy.statement : s.sid => s.actions if !contains(["Look", "HoldNewInstances"], s.sid) } == {
      LaunchFromTemplate = toset(["ec2:RunInstances"])
      TagLaunched        = toset(["ec2:CreateTags"])
      PassInstanceRole   = toset(["iam:PassRole"])
    }
    error_message = "AWS asks for these of the role where the group has a launch template."
  }

  assert {
    condition     = length([for s in data.aws_iam_policy_document.codedeploy.statement : s if contains(s.actions, "cloudwatch:DescribeAlarms")]) == 0
    error_message = "CodeDeploy looks at no alarm."
  }

  assert {
    condition     = length(aws_autoscaling_group.app.initial_lifecycle_hook) == 0
    error_message = "The launching hook is CodeDeploy's."
  }
}

run "github_by_name" {
  variables {
    github_repository = "octo-org/octo.repo"
    state_bucket      = "states"
  }

  assert {
    condition     = aws_iam_openid_connect_provider.github[0].url == "https://token.actions.githubusercontent.com" && aws_iam_openid_connect_provider.github[0].client_id_list == toset(["sts.amazonaws.com"])
    error_message = "The provider is GitHub's."
  }

  assert {
    condition     = { for name, role in aws_iam_role.github : name => role.name } == { plan = "hello-plan-us-west-1", bake = "hello-bake-us-west-1", deploy = "hello-deploy-us-west-1" }
    error_message = "The roles' names are known beforehand."
  }

  assert {
    condition = {
      for name, document in data.aws_iam_policy_document.assume_github : name => toset(flatten([for c in document.statement[0].condition : c.values if endswith(c.variable, ":sub")]))
      } == {
      plan   = toset(["repo:octo-org/octo.repo:pull_request", "repo:octo-org/octo.repo:ref:refs/heads/main"])
      bake   = toset(["repo:octo-org/octo.repo:ref:refs/heads/main"])
      deploy = toset(["repo:octo-org/octo.repo:environment:production"])
    }
    error_message = "Who may take which role is not as it should be."
  }

  assert {
    condition     = alltrue(flatten([for document in data.aws_iam_policy_document.assume_github : [for c in document.statement[0].condition : c.test == "StringEquals"]]))
    error_message = "Subjects and audiences are compared as they are."
  }

  assert {
    condition     = toset(flatten([for s in data.aws_iam_policy_document.plan.statement : s.resources if s.sid == "ReadState"])) == toset(["arn:aws:s3:::states/ingot/hello/us-west-1.tfstate"])
    error_message = "The plan role reads this state and no other."
  }

  assert {
    condition = length([
      for s in concat(data.aws_iam_policy_document.plan.statement, data.aws_iam_policy_document.bake.statement, data.aws_iam_policy_document.deploy.statement) : s
      if length([for a in coalesce(s.actions, []) : a if strcontains(a, "*")]) > 0 || length(s.condition) > 0 && alltrue([for c in s.condition : startswith(c.test, "ForAllValues") || endswith(c.test, "IfExists")])
    ]) == 0
    error_message = "No role may do everything of a kind, and no condition that holds for nothing at all stands alone."
  }

  # Of what changes something, only what takes a resource that is not there yet, or knows none, goes without one.
  assert {
    condition = length([
      for s in concat(data.aws_iam_policy_document.plan.statement, data.aws_iam_policy_document.bake.statement, data.aws_iam_policy_document.deploy.statement) : s
      if contains(s.resources, "*") && !startswith(s.sid, "Look")
    ]) == 0
    error_message = "Whatever is not looking names its resources."
  }

  assert {
    condition     = [for s in data.aws_iam_policy_document.deploy.statement : s.resources if contains(s.actions, "iam:PassRole")] == [toset(["arn:aws:iam::123456789012:role/hello"])]
    error_message = "The deploy role passes on the instances' role and no other."
  }
}

run "github_by_number" {
  command = plan

  variables {
    github_repository    = "octo-org/octo.repo"
    github_owner_id      = "123456"
    github_repository_id = "456789"
    github_branch        = "trunk"
    github_provider      = false
  }

  assert {
    condition     = length(aws_iam_openid_connect_provider.github) == 0
    error_message = "The account's provider is there already."
  }

  assert {
    condition = toset(flatten([for c in data.aws_iam_policy_document.assume_github["bake"].statement[0].condition : c.values if endswith(c.variable, ":sub")])) == toset([
      "repo:octo-org/octo.repo:ref:refs/heads/trunk", "repo:octo-org@123456/octo.repo@456789:ref:refs/heads/trunk",
    ])
    error_message = "Both forms of the subject are exact."
  }
}

run "refuses_what_cannot_work" {
  command = plan

  variables {
    github_repository    = "octo-org/*"
    github_owner_id      = "1"
    github_repository_id = ""
    github_branch        = "*"
  }

  expect_failures = [var.github_repository, var.github_repository_id, var.github_branch]
}
