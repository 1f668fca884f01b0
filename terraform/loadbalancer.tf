# A worker, which listens at no port, has no load balancer.

resource "aws_lb" "app" {
  count = local.listens

  name               = var.app
  load_balancer_type = "application"
  security_groups    = [aws_security_group.load_balancer[0].id]
  subnets            = aws_subnet.public[*].id

  drop_invalid_header_fields = true
  enable_deletion_protection = var.deletion_protection

  # A load balancer with public addresses needs the way out first.
  depends_on = [aws_route.internet]
}

resource "aws_lb_target_group" "app" {
  count = local.listens

  # A prefix, because another port means another target group, which has to exist before the listener lets go of this one.
  # Target group names have 32 characters, of which the provider takes 26.
  name_prefix          = substr(var.app, 0, 6)
  vpc_id               = aws_vpc.app.id
  target_type          = "instance"
  protocol             = "HTTP"
  protocol_version     = "HTTP1"
  port                 = var.port
  deregistration_delay = var.deregistration_delay

  health_check {
    path                = var.health_path
    matcher             = "200"
    interval            = var.health_check_interval
    timeout             = min(5, var.health_check_interval - 1) # has to be shorter than the interval
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_lb_listener" "http" {
  count = local.listens

  load_balancer_arn = aws_lb.app[0].arn
  port              = 80
  protocol          = "HTTP"

  default_action {
    type             = local.https ? "redirect" : "forward"
    target_group_arn = local.https ? null : aws_lb_target_group.app[0].arn

    dynamic "redirect" {
      for_each = local.https ? [443] : []

      content {
        status_code = "HTTP_301"
        protocol    = "HTTPS"
        port        = redirect.value
      }
    }
  }
}

resource "aws_lb_listener" "https" {
  count = local.https ? local.listens : 0

  load_balancer_arn = aws_lb.app[0].arn
  port              = 443
  protocol          = "HTTPS"
  certificate_arn   = local.certificate_arn
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.app[0].arn
  }
}
