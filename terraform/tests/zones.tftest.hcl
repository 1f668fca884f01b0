# Where a new installation's subnets go, on a mocked provider.

mock_provider "aws" {
  mock_data "aws_availability_zones" {
    defaults = {
      names = ["us-west-1c", "us-west-1a", "us-west-1b"]
    }
  }

  # A local zone has the type, and the first zone does not.
  mock_data "aws_ec2_instance_type_offerings" {
    defaults = {
      locations = ["us-west-1-lax-1a", "us-west-1c", "us-west-1b"]
    }
  }

  mock_data "aws_iam_policy_document" {
    defaults = {
      json = "{}"
    }
  }
}

variables {
  app      = "hello"
  image_id = "ami-0123456789abcdef0"
}

run "zones_that_offer_the_type" {
  command = plan

  assert {
    condition     = aws_subnet.public[*].availability_zone == ["us-west-1b", "us-west-1c"]
    error_message = "The subnets are in the first two zones that offer the instance type."
  }
}
