# Terraform owns the shape of the fleet and never the release. A release is a launch template version that the release
# tool makes, with an image of its own, and that an instance refresh brings into the group; therefore no instance_refresh
# block here. A change of shape (another instance type, say) becomes a new launch template version as well, which the
# next release builds upon.

resource "aws_launch_template" "app" {
  name                   = var.app
  image_id               = var.image_id
  instance_type          = var.instance_type
  vpc_security_group_ids = [aws_security_group.instance.id]

  iam_instance_profile {
    arn = aws_iam_instance_profile.instance.arn
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  block_device_mappings {
    # Any other name than that of the image's root device would make a second volume, without a size.
    device_name = var.root_device

    ebs {
      volume_type           = "gp3"
      volume_size           = var.disk_size
      encrypted             = true
      delete_on_termination = true
    }
  }

  # Instances get their tags from the group.
  tag_specifications {
    resource_type = "volume"
    tags          = merge(local.tags, { Name = var.app })
  }

  lifecycle {
    # The provider reads the template's latest version, and that is a release's: its image, the name of that image's root
    # device and its description are the release tool's. The default version is the release tool's too, but as long as it
    # is not set here nothing compares it.
    ignore_changes = [image_id, description, block_device_mappings[0].device_name]

    precondition {
      # Types with a "g" among the letters after the generation have AWS's own arm64 processors, and so has the a1 family.
      condition     = (var.architecture == "arm64") == can(regex("^([a-z]+[0-9]+[a-z]*g|a1\\.)", var.instance_type))
      error_message = "Instance type ${var.instance_type} cannot run ${var.architecture} images: choose another instance_type or architecture."
    }
  }
}

resource "aws_autoscaling_group" "app" {
  name                = var.app
  min_size            = var.released ? var.min_size : 0
  max_size            = var.max_size
  vpc_zone_identifier = local.subnets[*].id
  target_group_arns   = aws_lb_target_group.app[*].arn

  health_check_type         = local.listens == 1 ? "ELB" : "EC2"
  health_check_grace_period = max(var.health_check_grace_period, var.start_within)
  default_instance_warmup   = var.warmup

  # Whether the instances are healthy is the rollout's question; an apply does not wait for it.
  wait_for_capacity_timeout = "0"

  launch_template {
    id = aws_launch_template.app.id
    # A number: with $Latest or $Default an instance refresh cannot roll back. The default version is the current release,
    # so that a group that has to be made again starts with it.
    version = tostring(aws_launch_template.app.default_version)
  }

  instance_maintenance_policy {
    min_healthy_percentage = var.min_healthy_percentage
    max_healthy_percentage = var.max_healthy_percentage
  }

  # The provider's default_tags do not reach Auto Scaling groups.
  dynamic "tag" {
    for_each = merge(local.tags, { Name = var.app })

    content {
      key                 = tag.key
      value               = tag.value
      propagate_at_launch = true
    }
  }

  # What an instance needs from its boot to its end, beyond what is named above.
  depends_on = [
    aws_iam_role_policy.instance,
    aws_lb_listener.http,
    aws_lb_listener.https,
    aws_route.internet,
    aws_route.nat,
    aws_route_table_association.private,
    aws_route_table_association.public,
    aws_vpc_security_group_egress_rule.https,
    aws_vpc_security_group_egress_rule.more,
    aws_vpc_security_group_egress_rule.to_service,
    aws_vpc_security_group_ingress_rule.from_load_balancer,
  ]

  lifecycle {
    # The version is the release, and the release tool's; the desired capacity is the scaling policy's.
    ignore_changes = [desired_capacity, launch_template[0].version]

    precondition {
      condition     = var.min_size <= var.max_size
      error_message = "min_size (${var.min_size}) is greater than max_size (${var.max_size})."
    }

    precondition {
      condition     = var.max_healthy_percentage - var.min_healthy_percentage <= 100
      error_message = "max_healthy_percentage may be at most 100 greater than min_healthy_percentage."
    }
  }
}

resource "aws_autoscaling_policy" "cpu" {
  name                   = "${var.app}-cpu"
  autoscaling_group_name = aws_autoscaling_group.app.name
  policy_type            = "TargetTrackingScaling"

  target_tracking_configuration {
    target_value = var.cpu_target

    predefined_metric_specification {
      predefined_metric_type = "ASGAverageCPUUtilization"
    }
  }
}
