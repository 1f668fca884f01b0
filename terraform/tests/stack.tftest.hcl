# The stack's promises, on a mocked provider: `terraform test` in the folder above.

mock_provider "aws" {
  mock_data "aws_availability_zones" {
    defaults = {
      names = ["us-west-1c", "us-west-1a", "us-west-1b"]
    }
  }

  mock_data "aws_ec2_instance_type_offerings" {
    defaults = {
      locations = ["us-west-1a", "us-west-1b", "us-west-1c"]
    }
  }

  mock_data "aws_iam_policy_document" {
    defaults = {
      json = "{}"
    }
  }

  mock_resource "aws_lb" {
    defaults = {
      arn      = "arn:aws:elasticloadbalancing:us-west-1:123456789012:loadbalancer/app/hello/0123456789abcdef"
      dns_name = "hello.example.test"
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

  mock_resource "aws_launch_template" {
    defaults = {
      id              = "lt-0123456789abcdef0"
      default_version = 1
    }
  }
}

variables {
  app      = "hello"
  image_id = "ami-0123456789abcdef0"
}

run "empty_until_released" {
  assert {
    condition     = aws_autoscaling_group.app.min_size == 0 && aws_autoscaling_group.app.max_size == 4
    error_message = "Before the first release the group has to be empty, and able to grow."
  }

  assert {
    condition     = output.url == "http://hello.example.test"
    error_message = "The URL has to be the load balancer's: ${output.url}."
  }

  assert {
    condition     = length(aws_lb_listener.https) == 0 && aws_lb_listener.http[0].default_action[0].type == "forward"
    error_message = "Without a certificate port 80 serves and port 443 is closed."
  }

  assert {
    condition     = aws_subnet.public[*].availability_zone == ["us-west-1a", "us-west-1b"]
    error_message = "The subnets are in the first two zones."
  }

  assert {
    condition     = aws_subnet.public[*].cidr_block == ["10.42.0.0/18", "10.42.64.0/18"]
    error_message = "The subnets have the first two quarters of the VPC."
  }
}

# Subnets that are there stay, whatever zones offer.
run "subnets_stay" {
  override_data {
    target = data.aws_ec2_instance_type_offerings.zones
    values = {
      locations = ["us-west-1b", "us-west-1c"]
    }
  }

  assert {
    condition     = aws_subnet.public[*].availability_zone == ["us-west-1a", "us-west-1b"]
    error_message = "The subnets of an existing installation have moved."
  }
}

run "release_is_terraforms_business_no_more" {
  variables {
    image_id = "ami-11111111111111111"
    released = true
  }

  assert {
    condition     = aws_launch_template.app.image_id == "ami-0123456789abcdef0"
    error_message = "Another parent image must not change the launch template."
  }

  assert {
    condition     = aws_autoscaling_group.app.launch_template[0].version == "1"
    error_message = "The group's launch template version is a number, and the release tool's."
  }

  assert {
    condition     = aws_autoscaling_group.app.min_size == 2
    error_message = "With a release the group has its minimum."
  }

  assert {
    condition     = length(aws_autoscaling_group.app.instance_refresh) == 0
    error_message = "Terraform must not run the rollout."
  }
}

run "found_by_tag" {
  assert {
    condition     = contains([for tag in aws_autoscaling_group.app.tag : "${tag.key}=${tag.value}" if tag.propagate_at_launch], "ingot:app=hello")
    error_message = "The rollout finds the group and its instances by the tag ingot:app, which default_tags do not set there."
  }
}

run "https_with_a_certificate" {
  command = plan

  variables {
    certificate_arn = "arn:aws:acm:us-west-1:123456789012:certificate/01234567-89ab-cdef-0123-456789abcdef"
    client_cidrs    = ["192.0.2.0/24", "198.51.100.0/24"]
  }

  assert {
    condition     = aws_lb_listener.http[0].default_action[0].type == "redirect" && aws_lb_listener.http[0].default_action[0].redirect[0].protocol == "HTTPS"
    error_message = "With a certificate port 80 redirects."
  }

  assert {
    condition     = aws_lb_listener.https[0].port == 443
    error_message = "With a certificate port 443 serves."
  }

  assert {
    condition = toset([for rule in aws_vpc_security_group_ingress_rule.clients : "${rule.cidr_ipv4} ${rule.from_port}"]) == toset([
      "192.0.2.0/24 80", "192.0.2.0/24 443", "198.51.100.0/24 80", "198.51.100.0/24 443",
    ])
    error_message = "The named clients alone reach both ports."
  }
}

run "https_with_a_zone" {
  command = plan

  variables {
    domain = "www.example.test"
    zone   = "example.test"
  }

  assert {
    condition     = aws_acm_certificate.app[0].domain_name == "www.example.test" && aws_route53_record.app[0].name == "www.example.test"
    error_message = "The domain gets a certificate and a record."
  }

  assert {
    condition     = aws_lb_listener.https[0].port == 443 && aws_lb_listener.http[0].default_action[0].type == "redirect"
    error_message = "With a certificate port 443 serves, and port 80 redirects."
  }
}

run "a_zone_is_left_out_on_ones_own_machine" {
  command = plan

  variables {
    domain = "www.example.test"
    zone   = "example.test"
    local  = true
  }

  assert {
    condition     = length(aws_acm_certificate.app) == 0 && length(aws_route53_record.app) == 0 && length(aws_lb_listener.https) == 0
    error_message = "A local cloud has no Route 53 and no ACM."
  }
}

run "refuses_another_zone" {
  command = plan

  variables {
    domain = "www.example.test"
    zone   = "ample.test"
  }

  expect_failures = [var.zone]
}

run "only_the_load_balancer_reaches_instances" {
  assert {
    condition = (
      aws_vpc_security_group_ingress_rule.from_load_balancer[0].referenced_security_group_id == aws_security_group.load_balancer[0].id &&
      aws_vpc_security_group_ingress_rule.from_load_balancer[0].from_port == 8080 &&
      aws_vpc_security_group_ingress_rule.from_load_balancer[0].to_port == 8080
    )
    error_message = "Only the load balancer reaches the service, and only its port."
  }
}

run "a_fleet_of_ones_own" {
  command = plan

  variables {
    disk_size    = 20
    egress_ports = [5432, 6379]
  }

  assert {
    condition     = aws_launch_template.app.block_device_mappings[0].ebs[0].volume_size == 20
    error_message = "The disk has the size that is asked for."
  }

  assert {
    condition     = toset([for rule in aws_vpc_security_group_egress_rule.more : rule.from_port]) == toset([5432, 6379])
    error_message = "Instances reach the ports that are asked for."
  }
}

run "private_subnets" {
  command = plan

  variables {
    private = true
  }

  assert {
    condition     = length(aws_nat_gateway.app) == 2 && [for subnet in aws_subnet.private : subnet.cidr_block] == ["10.42.128.0/18", "10.42.192.0/18"]
    error_message = "Each zone has a private subnet and a way out of its own."
  }

  assert {
    condition     = alltrue([for subnet in aws_subnet.private : subnet.map_public_ip_on_launch == null || subnet.map_public_ip_on_launch == false])
    error_message = "Nothing in a private subnet has a public address."
  }
}

run "no_private_subnets_on_ones_own_machine" {
  command = plan

  variables {
    private = true
    local   = true
  }

  assert {
    condition     = length(aws_nat_gateway.app) == 0 && length(aws_subnet.private) == 0
    error_message = "A local cloud has no NAT gateways."
  }
}

run "a_worker_listens_nowhere" {
  command = plan

  variables {
    port = 0
  }

  assert {
    condition     = length(aws_lb.app) == 0 && length(aws_lb_listener.http) == 0 && length(aws_lb_target_group.app) == 0 && length(aws_security_group.load_balancer) == 0
    error_message = "A worker has no load balancer."
  }

  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.from_load_balancer) == 0 && length(aws_vpc_security_group_ingress_rule.clients) == 0
    error_message = "Nobody reaches a worker."
  }

  assert {
    condition     = aws_autoscaling_group.app.health_check_type == "EC2" && output.url == null
    error_message = "Whether a worker's machine lives is EC2's to say."
  }
}

run "arm64_instances_for_arm64_images" {
  command = plan

  variables {
    architecture  = "arm64"
    instance_type = "t4g.micro"
  }
}

run "no_arm64_instances_for_x86_64_images" {
  command = plan

  variables {
    instance_type = "c7gn.large"
  }

  expect_failures = [aws_launch_template.app]
}

run "no_x86_64_instances_for_arm64_images" {
  command = plan

  variables {
    architecture  = "arm64"
    instance_type = "g4dn.xlarge"
  }

  expect_failures = [aws_launch_template.app]
}

run "no_type_that_one_zone_alone_has" {
  command = plan

  override_data {
    target = data.aws_ec2_instance_type_offerings.zones
    values = {
      locations = ["us-west-1a", "us-west-1-lax-1a"]
    }
  }

  expect_failures = [data.aws_ec2_instance_type_offerings.zones]
}

run "sizes_have_an_order" {
  command = plan

  variables {
    min_size = 5
    max_size = 4
  }

  expect_failures = [aws_autoscaling_group.app]
}

run "refuses_what_cannot_work" {
  command = plan

  variables {
    app                  = "Hello_World"
    image_id             = "debian-13"
    port                 = 80.5
    health_path          = "healthz"
    cidr                 = "10.0.0.0/8"
    deregistration_delay = 3601
  }

  expect_failures = [var.app, var.image_id, var.port, var.health_path, var.cidr, var.deregistration_delay]
}

# What S3, EC2 and Elastic Load Balancing keep for themselves, or cannot take.
run "refuses_short_names" {
  command = plan

  variables {
    app          = "hi"
    state_bucket = "no"
  }

  expect_failures = [var.app, var.state_bucket]
}

run "refuses_reserved_names" {
  command = plan

  variables {
    app          = "sg-hello"
    state_bucket = "hello-s3alias"
  }

  expect_failures = [var.app, var.state_bucket]
}

# The newest minutes of a load balancer's numbers come late.
run "late_metrics_do_not_hold_the_alarm" {
  command = plan

  assert {
    condition     = aws_cloudwatch_metric_alarm.errors[0].evaluation_periods == 5 && aws_cloudwatch_metric_alarm.errors[0].datapoints_to_alarm == 2
    error_message = "The alarm is of the form M of N."
  }
}

run "root_device_of_the_image" {
  variables {
    root_device = "/dev/sda1"
  }

  # What the template's first version was made with; a release's name of it is not Terraform's to change.
  assert {
    condition     = one(aws_launch_template.app.block_device_mappings).device_name == "/dev/xvda"
    error_message = "The name of the root device is the release's."
  }
}
