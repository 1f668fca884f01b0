// Package cloudwatch is the alarms of Amazon CloudWatch: what an instance refresh watches.
//
// Known gaps: there are no metrics. An alarm is kept and shown, and stays in INSUFFICIENT_DATA until SetAlarmState says
// otherwise; it then stays what it was set to, while on AWS the next evaluation would change it back. Actions of alarms
// are kept and shown, and do nothing. Composite alarms, anomaly detection and PromQL are not there.
package cloudwatch

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/service"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/store"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// Name is the service's name in signatures.
const Name = "monitoring"

// Alarm states.
const (
	stateOK               = "OK"
	stateAlarm            = "ALARM"
	stateInsufficientData = "INSUFFICIENT_DATA"
)

// Options are what a [Service] is made of.
type Options struct {
	Region    string
	AccountID string // 12 digits
	Store     store.Store
}

// Service is the alarms of one region.
type Service struct {
	options Options
	state   *store.Document[state]
}

type state struct {
	Alarms map[string]alarm // by name
}

// alarm is an alarm as the store keeps it.
type alarm struct {
	settings
	StateValue, StateReason, StateReasonData string
	// Configured, Updated and Transitioned are when the settings, the state's reason, and the state changed last.
	Configured, Updated, Transitioned time.Time
	Tags                              map[string]string
}

// New returns the service with the state that the store has.
func New(o Options) (*Service, error) {
	document, err := store.Open(o.Store, "cloudwatch", state{Alarms: map[string]alarm{}})
	if err != nil {
		return nil, err
	}
	return &Service{options: o, state: document}, nil
}

// API returns the operations. The AWS CLI calls them in the JSON protocol, older SDKs in the query protocol, newer ones in CBOR.
func (s *Service) API() wire.Service {
	return wire.Service{
		Name: Name, Prefix: "cloudwatch", Protocol: wire.AWSQuery, Version: "2010-08-01", Target: "GraniteServiceVersion20100801",
		Namespace: "http://monitoring.amazonaws.com/doc/2010-08-01/",
		Actions: map[string]wire.Action{
			"PutMetricAlarm":      wire.Do(s.putMetricAlarm, s.putting),
			"DescribeAlarms":      wire.DoUnscoped(s.describeAlarms),
			"SetAlarmState":       wire.Do(s.setAlarmState, func(in *setAlarmStateInput) []wire.Access { return []wire.Access{s.on(in.AlarmName)} }),
			"DeleteAlarms":        wire.Do(s.deleteAlarms, s.deleting),
			"ListTagsForResource": wire.Do(s.listTagsForResource, func(in *resourceInput) []wire.Access { return []wire.Access{s.onResource(in.ResourceARN)} }),
			"TagResource": wire.Do(s.tagResource, func(in *tagResourceInput) []wire.Access {
				return []wire.Access{tagged(s.onResource(in.ResourceARN), in.Tags)}
			}),
			"UntagResource": wire.Do(s.untagResource, func(in *untagResourceInput) []wire.Access {
				return []wire.Access{s.onResource(in.ResourceARN).With(map[string][]string{"aws:TagKeys": in.TagKeys})}
			}),
		},
	}
}

// AlarmState returns OK, ALARM or INSUFFICIENT_DATA, and whether there is such an alarm.
func (s *Service) AlarmState(name string) (value string, found bool) {
	_ = s.state.View(func(st state) error { // cannot fail
		var a alarm
		a, found = st.Alarms[name]
		value = a.StateValue
		return nil
	})
	return value, found
}

func (s *Service) putMetricAlarm(_ context.Context, in *putMetricAlarmInput) (*wire.Empty, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	in.defaults()
	return nil, s.state.Update(func(st *state) error {
		now := service.Millis()
		a, exists := st.Alarms[in.AlarmName]
		if !exists {
			a = alarm{
				StateValue: stateInsufficientData, StateReason: "Unchecked: Initial alarm creation", Updated: now, Transitioned: now,
			}
			var err error
			if a.Tags, err = tagging().Set(nil, in.Tags); err != nil { // AWS ignores the tags of an update
				return err
			}
		}
		a.settings, a.Configured = in.settings, now
		st.Alarms[in.AlarmName] = a
		return nil
	})
}

type setAlarmStateInput struct {
	AlarmName       string `query:"AlarmName" wire:"required"`
	StateValue      string `query:"StateValue" wire:"required,enum=OK|ALARM|INSUFFICIENT_DATA"`
	StateReason     string `query:"StateReason" wire:"required,empty"`
	StateReasonData string `query:"StateReasonData"`
}

func (s *Service) setAlarmState(_ context.Context, in *setAlarmStateInput) (*wire.Empty, error) {
	if in.StateReasonData != "" && !json.Valid([]byte(in.StateReasonData)) {
		return nil, wire.Errorf("InvalidFormat", "StateReasonData was not syntactically valid JSON")
	}
	return nil, s.state.Update(func(st *state) error {
		a, ok := st.Alarms[in.AlarmName]
		if !ok {
			return notFound("ResourceNotFound", "Alarm %s does not exist", in.AlarmName)
		}
		now := service.Millis()
		if a.StateValue != in.StateValue {
			a.Transitioned = now
		}
		a.StateValue, a.StateReason, a.StateReasonData, a.Updated = in.StateValue, in.StateReason, in.StateReasonData, now
		st.Alarms[in.AlarmName] = a
		return nil
	})
}

type deleteAlarmsInput struct {
	AlarmNames []string `query:"AlarmNames" wire:"required"`
}

// deleteAlarms deletes the alarms that there are: names of others are no error on AWS.
func (s *Service) deleteAlarms(_ context.Context, in *deleteAlarmsInput) (*wire.Empty, error) {
	if len(in.AlarmNames) > maxPage {
		return nil, invalid("At most %d alarms can be deleted at once.", maxPage)
	}
	return nil, s.state.Update(func(st *state) error {
		for _, name := range in.AlarmNames {
			delete(st.Alarms, name)
		}
		return nil
	})
}

// How many alarms a page has at most, and where the request does not say.
const (
	maxPage     = 100
	defaultPage = 50
)

type describeAlarmsInput struct {
	AlarmNames      []string `query:"AlarmNames"`
	AlarmNamePrefix string   `query:"AlarmNamePrefix"`
	AlarmTypes      []string `query:"AlarmTypes" wire:"enum=MetricAlarm|CompositeAlarm"`
	StateValue      string   `query:"StateValue" wire:"enum=OK|ALARM|INSUFFICIENT_DATA"`
	ActionPrefix    string   `query:"ActionPrefix"`
	MaxRecords      *int     `query:"MaxRecords"`
	NextToken       string   `query:"NextToken"` // the name of the page's first alarm
}

type describeAlarmsOutput struct {
	MetricAlarms service.List[alarmView]
	NextToken    string `xml:",omitempty" json:",omitempty"`
}

type alarmView struct {
	settings
	AlarmARN                           string `xml:"AlarmArn" json:"AlarmArn"`
	StateValue                         string
	StateReason                        string
	StateReasonData                    string `xml:",omitempty" json:",omitempty"`
	StateUpdatedTimestamp              wire.Epoch
	StateTransitionedTimestamp         wire.Epoch
	AlarmConfigurationUpdatedTimestamp wire.Epoch
}

func (s *Service) describeAlarms(_ context.Context, in *describeAlarmsInput) (*describeAlarmsOutput, error) {
	size := defaultPage
	if in.MaxRecords != nil {
		size = *in.MaxRecords
	}
	switch {
	case len(in.AlarmNames) > 0 && in.AlarmNamePrefix != "":
		return nil, invalid("AlarmNamePrefix and AlarmNames cannot be specified together.")
	case len(in.AlarmNames) > maxPage:
		return nil, invalid("At most %d alarm names can be specified.", maxPage)
	case size < 1 || size > maxPage:
		return nil, invalid("MaxRecords must be between 1 and %d.", maxPage)
	case len(in.AlarmNames) > 0 && in.MaxRecords == nil:
		size = maxPage
	}
	out := &describeAlarmsOutput{}
	if len(in.AlarmTypes) > 0 && !slices.Contains(in.AlarmTypes, "MetricAlarm") {
		return out, nil
	}
	return out, s.state.View(func(st state) error {
		for _, a := range service.Sorted(st.Alarms) {
			if a.AlarmName < in.NextToken || !in.matches(a) {
				continue
			}
			if len(out.MetricAlarms.Members) == size {
				out.NextToken = a.AlarmName
				break
			}
			out.MetricAlarms.Members = append(out.MetricAlarms.Members, alarmView{
				settings: a.settings, AlarmARN: s.arnPrefix() + a.AlarmName, StateValue: a.StateValue, StateReason: a.StateReason,
				StateReasonData: a.StateReasonData, StateUpdatedTimestamp: wire.Epoch{Time: a.Updated},
				StateTransitionedTimestamp:         wire.Epoch{Time: a.Transitioned},
				AlarmConfigurationUpdatedTimestamp: wire.Epoch{Time: a.Configured},
			})
		}
		return nil
	})
}

func (in *describeAlarmsInput) matches(a alarm) bool {
	actions := slices.Concat(a.OKActions, a.AlarmActions, a.InsufficientDataActions)
	return (len(in.AlarmNames) == 0 || slices.Contains(in.AlarmNames, a.AlarmName)) &&
		strings.HasPrefix(a.AlarmName, in.AlarmNamePrefix) &&
		(in.StateValue == "" || a.StateValue == in.StateValue) &&
		(in.ActionPrefix == "" || slices.ContainsFunc(actions, func(arn string) bool { return strings.HasPrefix(arn, in.ActionPrefix) }))
}

func (s *Service) arnPrefix() string {
	return fmt.Sprintf("arn:aws:cloudwatch:%s:%s:alarm:", s.options.Region, s.options.AccountID)
}

func invalid(format string, args ...any) *wire.Error {
	return wire.Errorf("ValidationError", format, args...)
}

func notFound(code, format string, args ...any) *wire.Error {
	return &wire.Error{Code: code, Message: fmt.Sprintf(format, args...), Status: 404}
}
