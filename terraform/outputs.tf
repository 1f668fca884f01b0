# No output depends on a release: outputs would change with it, and after a rollout a plan has to be empty.

output "url" {
  description = "Where the service answers; null for a worker. With a certificate, point its host name at the load balancer and use that."
  value       = one([for name in aws_lb.app[*].dns_name : "${local.https ? "https" : "http"}://${name}"])
}

output "asg_name" {
  description = "Name of the Auto Scaling group."
  value       = aws_autoscaling_group.app.name
}

output "launch_template_id" {
  description = "ID of the launch template whose versions are the releases."
  value       = aws_launch_template.app.id
}

output "load_balancer_arn" {
  description = "ARN of the load balancer; null for a worker."
  value       = one(aws_lb.app[*].arn)
}

output "load_balancer_dns_name" {
  description = "DNS name of the load balancer, for an alias record."
  value       = one(aws_lb.app[*].dns_name)
}

output "load_balancer_zone_id" {
  description = "Hosted zone ID of the load balancer, for an alias record."
  value       = one(aws_lb.app[*].zone_id)
}

output "target_group_arn" {
  description = "ARN of the target group that the instances are registered in; null for a worker."
  value       = one(aws_lb_target_group.app[*].arn)
}

output "vpc_id" {
  description = "ID of the VPC."
  value       = aws_vpc.app.id
}

output "subnet_ids" {
  description = "IDs of the public subnets, in the order of their zones."
  value       = aws_subnet.public[*].id
}

output "instance_security_group_id" {
  description = "ID of the instances' security group, for the rules of a database or a cache."
  value       = aws_security_group.instance.id
}

output "instance_role_name" {
  description = "Name of the instances' role, for further policies."
  value       = aws_iam_role.instance.name
}

output "error_alarm_name" {
  description = "Name of the alarm on failing requests, for rollout { alarms }."
  value       = one(aws_cloudwatch_metric_alarm.errors[*].alarm_name)
}

output "revisions_bucket" {
  description = "Name of the bucket of the CodeDeploy revisions, or null without CodeDeploy."
  value       = one(aws_s3_bucket.revisions[*].id)
}

output "github_role_arns" {
  description = "ARNs of the roles for GitHub Actions by what they are for: plan, bake and deploy. Empty without a repository."
  value       = { for name, role in aws_iam_role.github : name => role.arn }
}
