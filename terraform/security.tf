# Clients reach the load balancer, the load balancer reaches the service, and nobody reaches anything else. There is no
# SSH: what needs changing on an instance is changed in its image.
#
# Rules are resources of their own, so that the two groups can name each other.

locals {
  listener_ports = local.https ? [80, 443] : [80]

  client_rules = {
    for rule in local.listens == 1 ? setproduct(var.client_cidrs, local.listener_ports) : [] : "${rule[0]}:${rule[1]}" => {
      cidr = rule[0]
      port = rule[1]
    }
  }
}

resource "aws_security_group" "load_balancer" {
  count = local.listens

  name        = "${var.app}-load-balancer"
  description = "Load balancer of ${var.app}"
  vpc_id      = aws_vpc.app.id
}

resource "aws_vpc_security_group_ingress_rule" "clients" {
  for_each = local.client_rules

  security_group_id = aws_security_group.load_balancer[0].id
  description       = "Clients"
  cidr_ipv4         = each.value.cidr
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
}

resource "aws_vpc_security_group_egress_rule" "to_service" {
  count = local.listens

  security_group_id            = aws_security_group.load_balancer[0].id
  description                  = "Requests and health checks"
  referenced_security_group_id = aws_security_group.instance.id
  ip_protocol                  = "tcp"
  from_port                    = var.port
  to_port                      = var.port
}

resource "aws_security_group" "instance" {
  name        = "${var.app}-instance"
  description = "Instances of ${var.app}"
  vpc_id      = aws_vpc.app.id
}

resource "aws_vpc_security_group_ingress_rule" "from_load_balancer" {
  count = local.listens

  security_group_id            = aws_security_group.instance.id
  description                  = "Requests and health checks"
  referenced_security_group_id = aws_security_group.load_balancer[0].id
  ip_protocol                  = "tcp"
  from_port                    = var.port
  to_port                      = var.port
}

# HTTPS is enough for the AWS APIs and for other people's services. Everything else that a service needs is in its image;
# security groups do not filter Amazon's DNS, time and metadata services.
resource "aws_vpc_security_group_egress_rule" "https" {
  security_group_id = aws_security_group.instance.id
  description       = "AWS APIs and web services"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_egress_rule" "more" {
  for_each = { for port in var.egress_ports : tostring(port) => port }

  security_group_id = aws_security_group.instance.id
  description       = "What the service uses"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = each.value
  to_port           = each.value
}
