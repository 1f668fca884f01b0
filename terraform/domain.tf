# Where a hosted zone is named, the domain's record and certificate are made in it. The cloud on somebody's own machine has neither: the
# domain is asked for there by its name, without one.

locals {
  zoned = var.zone != "" && !var.local ? local.listens : 0

  # What a client has to trust before anything is asked through it.
  certificate_arn = local.zoned == 1 ? one(aws_acm_certificate_validation.app[*].certificate_arn) : var.certificate_arn
}

data "aws_route53_zone" "app" {
  count = local.zoned

  name = var.zone
}

resource "aws_acm_certificate" "app" {
  count = local.zoned

  domain_name       = var.domain
  validation_method = "DNS"

  lifecycle {
    create_before_destroy = true
  }
}

# ACM asks for one record for one domain.
resource "aws_route53_record" "validation" {
  count = local.zoned

  zone_id         = data.aws_route53_zone.app[0].zone_id
  name            = one(aws_acm_certificate.app[0].domain_validation_options).resource_record_name
  type            = one(aws_acm_certificate.app[0].domain_validation_options).resource_record_type
  records         = [one(aws_acm_certificate.app[0].domain_validation_options).resource_record_value]
  ttl             = 60
  allow_overwrite = true # another stack's certificate for the same domain has the same record
}

resource "aws_acm_certificate_validation" "app" {
  count = local.zoned

  certificate_arn         = aws_acm_certificate.app[0].arn
  validation_record_fqdns = aws_route53_record.validation[*].fqdn
}

resource "aws_route53_record" "app" {
  count = local.zoned

  zone_id = data.aws_route53_zone.app[0].zone_id
  name    = var.domain
  type    = "A"

  alias {
    name                   = aws_lb.app[0].dns_name
    zone_id                = aws_lb.app[0].zone_id
    evaluate_target_health = false
  }
}
