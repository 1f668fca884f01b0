package cloudwatch

import (
	"regexp"
	"slices"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/service"
)

// Limits of AWS: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html.
const (
	maxName       = 255
	maxActions    = 5
	maxDimensions = 30
	// An alarm looks back a day at most, and a week where its period is an hour or more.
	maxLookBack     = 86400
	maxLongLookBack = 604800
	longPeriod      = 3600
)

type putMetricAlarmInput struct {
	settings
	Tags []service.Tag `query:"Tags"`
}

// settings are what PutMetricAlarm says of an alarm and DescribeAlarms shows.
type settings struct {
	AlarmName               string   `query:"AlarmName" wire:"required"`
	AlarmDescription        string   `query:"AlarmDescription" xml:",omitempty" json:",omitempty"`
	ActionsEnabled          *bool    `query:"ActionsEnabled"`
	OKActions               []string `query:"OKActions" xml:"OKActions>member"`
	AlarmActions            []string `query:"AlarmActions" xml:"AlarmActions>member"`
	InsufficientDataActions []string `query:"InsufficientDataActions" xml:"InsufficientDataActions>member"`

	metric
	Period            *int   `query:"Period" xml:",omitempty" json:",omitempty"` // seconds
	Statistic         string `query:"Statistic" wire:"enum=SampleCount|Average|Sum|Minimum|Maximum" xml:",omitempty" json:",omitempty"`
	ExtendedStatistic string `query:"ExtendedStatistic" xml:",omitempty" json:",omitempty"`
	Unit              string `query:"Unit" xml:",omitempty" json:",omitempty"`

	Metrics []metricQuery `query:"Metrics" xml:"Metrics>member" json:",omitempty"`

	EvaluationPeriods  *int     `query:"EvaluationPeriods" wire:"required"`
	DatapointsToAlarm  *int     `query:"DatapointsToAlarm" xml:",omitempty" json:",omitempty"`
	Threshold          *float64 `query:"Threshold" wire:"required"`
	ComparisonOperator string   `query:"ComparisonOperator" wire:"required,enum=GreaterThanOrEqualToThreshold|GreaterThanThreshold|LessThanThreshold|LessThanOrEqualToThreshold"`

	TreatMissingData                 string `query:"TreatMissingData" wire:"enum=breaching|notBreaching|ignore|missing" xml:",omitempty" json:",omitempty"`
	EvaluateLowSampleCountPercentile string `query:"EvaluateLowSampleCountPercentile" wire:"enum=evaluate|ignore" xml:",omitempty" json:",omitempty"`
}

type metric struct {
	Namespace  string      `query:"Namespace" xml:",omitempty" json:",omitempty"`
	MetricName string      `query:"MetricName" xml:",omitempty" json:",omitempty"`
	Dimensions []dimension `query:"Dimensions" xml:"Dimensions>member"`
}

type dimension struct {
	Name  string `query:"Name" wire:"required"`
	Value string `query:"Value" wire:"required"`
}

// metricQuery is a metric or a computation over others.
type metricQuery struct {
	ID         string      `query:"Id" xml:"Id" json:"Id" wire:"required"`
	MetricStat *metricStat `query:"MetricStat" xml:",omitempty" json:",omitempty"`
	Expression string      `query:"Expression" xml:",omitempty" json:",omitempty"`
	Label      string      `query:"Label" xml:",omitempty" json:",omitempty"`
	ReturnData *bool       `query:"ReturnData" xml:",omitempty" json:",omitempty"`
	Period     *int        `query:"Period" xml:",omitempty" json:",omitempty"`
	AccountID  string      `query:"AccountId" xml:"AccountId,omitempty" json:"AccountId,omitempty"`
}

type metricStat struct {
	Metric metric `query:"Metric" wire:"required"`
	Period int    `query:"Period" wire:"required"`
	Stat   string `query:"Stat" wire:"required"`
	Unit   string `query:"Unit" xml:",omitempty" json:",omitempty"`
}

// defaults fills in what the request leaves open.
func (s *settings) defaults() {
	if s.ActionsEnabled == nil {
		s.ActionsEnabled = new(true)
	}
	for _, actions := range []*[]string{&s.OKActions, &s.AlarmActions, &s.InsufficientDataActions} {
		if *actions == nil {
			*actions = []string{}
		}
	}
	if s.Dimensions == nil {
		s.Dimensions = []dimension{}
	}
}

// actionARN is the form of what an alarm can set off, such as arn:aws:sns:us-west-1:012345678901:topic and
// arn:aws:automate:us-west-1:ec2:stop.
var actionARN = regexp.MustCompile(`^arn:aws[a-z-]*:(sns|autoscaling|ec2|automate|swf|ssm|ssm-incidents|lambda|aiops):[a-z0-9-]+:(\d{12}:.+|ec2:[a-z]+)$`)

// check finds what AWS would not take, beyond what the wire tags say.
func (s *settings) check() error {
	if s.AlarmName == "" || len(s.AlarmName) > maxName {
		return invalid("AlarmName must have 1 to %d characters.", maxName)
	}
	for _, actions := range [][]string{s.OKActions, s.AlarmActions, s.InsufficientDataActions} {
		if len(actions) > maxActions {
			return invalid("An alarm can have at most %d actions for a state.", maxActions)
		}
		for _, arn := range actions {
			if !actionARN.MatchString(arn) {
				return invalid("Invalid arn syntax: %s", arn)
			}
		}
	}
	if *s.EvaluationPeriods < 1 {
		return invalid("EvaluationPeriods must be at least 1.")
	}
	if m := s.DatapointsToAlarm; m != nil && (*m < 1 || *m > *s.EvaluationPeriods) {
		return invalid("DatapointsToAlarm must be between 1 and EvaluationPeriods.")
	}
	switch {
	case len(s.Metrics) > 0 && (s.MetricName != "" || s.Namespace != "" || s.Period != nil || s.Statistic != "" ||
		s.ExtendedStatistic != "" || s.Unit != "" || len(s.Dimensions) > 0):
		return invalid("Metrics cannot be specified together with a metric, its dimensions, period, unit or statistic.")
	case len(s.Metrics) > 0:
		return s.checkQueries()
	case s.MetricName == "" || s.Namespace == "":
		return invalid("MetricName and Namespace, or Metrics, must be specified.")
	case (s.Statistic == "") == (s.ExtendedStatistic == ""):
		return invalid("Exactly one of Statistic and ExtendedStatistic must be specified.")
	case len(s.Dimensions) > maxDimensions:
		return invalid("A metric can have at most %d dimensions.", maxDimensions)
	case s.Period == nil:
		return invalid("Period must be specified.")
	}
	return s.checkPeriod(*s.Period)
}

func (s *settings) checkPeriod(period int) error {
	if !slices.Contains([]int{10, 20, 30}, period) && (period < 60 || period%60 != 0) {
		return invalid("Period must be 10, 20, 30 or a multiple of 60.")
	}
	limit := maxLookBack
	if period >= longPeriod {
		limit = maxLongLookBack
	}
	if period**s.EvaluationPeriods > limit {
		return invalid("Metrics cannot be checked across more than %d seconds (EvaluationPeriods * Period must be <= %d).", limit, limit)
	}
	return nil
}

// checkQueries checks that one of the queries is what the alarm watches, and each is a metric or an expression.
func (s *settings) checkQueries() error {
	watched := 0
	ids := map[string]bool{}
	for _, q := range s.Metrics {
		if (q.MetricStat == nil) == (q.Expression == "") {
			return invalid("Exactly one of MetricStat and Expression must be specified for %s.", q.ID)
		}
		if ids[q.ID] {
			return invalid("The Id %s is not unique.", q.ID)
		}
		ids[q.ID] = true
		if q.MetricStat != nil {
			if err := s.checkPeriod(q.MetricStat.Period); err != nil {
				return err
			}
		}
		if q.ReturnData == nil || *q.ReturnData {
			watched++
		}
	}
	if watched != 1 {
		return invalid("Exactly one element of Metrics must return data.")
	}
	return nil
}
