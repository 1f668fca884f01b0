# A guard that a rollout can be given: rollout { alarms = ["APP-errors"] } in ingot.hcl. It notifies nobody by itself.
#
# Errors are the service's own 5xx answers and the load balancer's, which gives 502, 503 and 504 where no instance answers
# well. RequestCount leaves out the requests for which there was no instance, so those are added again.
resource "aws_cloudwatch_metric_alarm" "errors" {
  alarm_name          = "${var.app}-errors"
  alarm_description   = "More than 5 % of the requests to ${var.app} fail"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 5
  evaluation_periods  = 2
  treat_missing_data  = "notBreaching"

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
          LoadBalancer = aws_lb.app.arn_suffix
        }
      }
    }
  }
}
