# A guard that a rollout can be given: rollout { alarms = ["APP-errors"] } in ingot.hcl. It notifies nobody by itself.
#
# Errors are the service's own 5xx answers and the load balancer's, which gives 502, 503 and 504 where no instance answers
# well. RequestCount leaves out the requests for which there was no instance, so those are added again.
resource "aws_cloudwatch_metric_alarm" "errors" {
  count = local.listens

  alarm_name          = "${var.app}-errors"
  alarm_description   = "More than 5 % of the requests to ${var.app} fail"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 5
  treat_missing_data  = "notBreaching"

  # Two bad minutes of the last five. Load balancers report a minute late, and FILL sets what is not there yet to 0: so the
  # newest minute may look like one without requests until its numbers come. Where every one of the last minutes had to be
  # bad, that one would keep the alarm in OK, or make it flap. CloudWatch's guide names M of N as the way around it.
  # https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html, on FILL
  evaluation_periods  = 5
  datapoints_to_alarm = 2

  metric_query {
    id          = "share"
    label       = "Failed requests in percent"
    return_data = true
    # Below 20 requests a minute one failure says nothing about the release.
    expression = "IF(FILL(requests, 0) + FILL(balancer, 0) >= 20, 100 * (FILL(service, 0) + FILL(balancer, 0)) / (FILL(requests, 0) + FILL(balancer, 0)), 0)"
  }

  dynamic "metric_query" {
    for_each = {
      requests = "RequestCount"
      service  = "HTTPCode_Target_5XX_Count"
      balancer = "HTTPCode_ELB_5XX_Count"
    }

    content {
      id = metric_query.key

      metric {
        namespace   = "AWS/ApplicationELB"
        metric_name = metric_query.value
        period      = 60
        stat        = "Sum"

        dimensions = {
          LoadBalancer = aws_lb.app[0].arn_suffix
        }
      }
    }
  }
}
