terraform {
  required_version = ">= 1.11" # the lock file in S3

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }

  # The path of the state file comes with -backend-config: every target (a region of an account, the cloud on this
  # machine) has a state of its own. With state { bucket } in ingot.hcl the working copy gets an S3 backend instead.
  backend "local" {}
}

# Region, credentials and endpoint come from the environment alone, so that one stack serves every target.
provider "aws" {
  default_tags {
    tags = local.tags
  }
}

locals {
  # The rollout finds the load balancer, the target group, the launch template and the group by this tag; it never reads
  # Terraform's state.
  tags = {
    "ingot:app" = var.app
  }

  https   = var.certificate_arn != "" || var.zone != "" && !var.local # known before anything is made
  listens = var.port == 0 ? 0 : 1
}
