package cloudwatch

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdkcloudwatch "github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/store"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

func newService(t *testing.T, st store.Store) *Service {
	t.Helper()
	s, err := New(Options{Region: "us-west-1", AccountID: "012345678901", Store: st})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// client calls a service in its JSON and its query protocol, without signatures' checks.
type client struct {
	t   *testing.T
	url string
}

func newClient(t *testing.T, s *Service) client {
	server := httptest.NewServer(wire.Handler(s.API()))
	t.Cleanup(server.Close)
	return client{t, server.URL}
}

func (c client) send(contentType, target, body string) (int, []byte) {
	status, _, answer := c.sendAll(contentType, target, body)
	return status, answer
}

func (c client) sendAll(contentType, target, body string) (int, http.Header, []byte) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.url, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	if target != "" {
		req.Header.Set("X-Amz-Target", target)
	}
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-west-1/monitoring/aws4_request, SignedHeaders=host, Signature=0")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, answer
}

// json makes a call as the AWS CLI does.
func (c client) json(action, body string) (status int, answer map[string]any) {
	c.t.Helper()
	status, data := c.send("application/x-amz-json-1.0", "GraniteServiceVersion20100801."+action, body)
	if err := json.Unmarshal(data, &answer); err != nil {
		c.t.Fatalf("%s answers %q: %v", action, data, err)
	}
	return status, answer
}

// query makes a call as Terraform does.
func (c client) query(action string, parameters url.Values, into any) int {
	c.t.Helper()
	parameters.Set("Action", action)
	parameters.Set("Version", "2010-08-01")
	status, data := c.send("application/x-www-form-urlencoded", "", parameters.Encode())
	if err := xml.Unmarshal(data, into); err != nil {
		c.t.Fatalf("%s answers %q: %v", action, data, err)
	}
	return status
}

const fives = `{"AlarmName":"fives","Namespace":"AWS/ApplicationELB","MetricName":"HTTPCode_Target_5XX_Count",
	"Dimensions":[{"Name":"LoadBalancer","Value":"app/hello/1"}],"Statistic":"Sum","Period":60,"EvaluationPeriods":2,"Threshold":1,
	"ComparisonOperator":"GreaterThanOrEqualToThreshold","TreatMissingData":"notBreaching","Tags":[{"Key":"ingot:app","Value":"hello"}]}`

// TestBothProtocols puts an alarm in the one protocol and reads it in the other.
func TestBothProtocols(t *testing.T) {
	c := newClient(t, newService(t, store.Memory()))
	if status, answer := c.json("PutMetricAlarm", fives); status != 200 {
		t.Fatalf("put: %d %v", status, answer)
	}
	status, answer := c.json("DescribeAlarms", `{"AlarmNames":["fives"]}`)
	if status != 200 {
		t.Fatalf("describe: %d %v", status, answer)
	}
	shown := answer["MetricAlarms"].([]any)[0].(map[string]any)
	for _, name := range []string{"StateUpdatedTimestamp", "StateTransitionedTimestamp", "AlarmConfigurationUpdatedTimestamp"} {
		if _, ok := shown[name].(float64); !ok {
			t.Errorf("%s is %v, want a number", name, shown[name])
		}
		delete(shown, name)
	}
	want := map[string]any{
		"AlarmName": "fives", "AlarmArn": "arn:aws:cloudwatch:us-west-1:012345678901:alarm:fives", "ActionsEnabled": true,
		"OKActions": []any{}, "AlarmActions": []any{}, "InsufficientDataActions": []any{},
		"Namespace": "AWS/ApplicationELB", "MetricName": "HTTPCode_Target_5XX_Count", "Statistic": "Sum", "Period": 60.0,
		"Dimensions":        []any{map[string]any{"Name": "LoadBalancer", "Value": "app/hello/1"}},
		"EvaluationPeriods": 2.0, "Threshold": 1.0, "ComparisonOperator": "GreaterThanOrEqualToThreshold", "TreatMissingData": "notBreaching",
		"StateValue": "INSUFFICIENT_DATA", "StateReason": "Unchecked: Initial alarm creation",
	}
	if diff := cmp.Diff(want, shown); diff != "" {
		t.Errorf("alarm in JSON (-want +got):\n%s", diff)
	}
	var described struct {
		Alarms []struct {
			Name       string  `xml:"AlarmName"`
			Threshold  float64 `xml:"Threshold"`
			Dimension  string  `xml:"Dimensions>member>Value"`
			Configured string  `xml:"AlarmConfigurationUpdatedTimestamp"`
		} `xml:"DescribeAlarmsResult>MetricAlarms>member"`
	}
	if status := c.query("DescribeAlarms", url.Values{"AlarmNames.member.1": {"fives"}}, &described); status != 200 {
		t.Fatalf("describe: %d", status)
	}
	if a := described.Alarms; len(a) != 1 || a[0].Name != "fives" || a[0].Threshold != 1 || a[0].Dimension != "app/hello/1" || !strings.HasSuffix(a[0].Configured, "Z") {
		t.Errorf("alarm in XML: %+v", a)
	}
	var failed struct {
		Code string `xml:"Error>Code"`
	}
	status = c.query("SetAlarmState", url.Values{"AlarmName": {"x"}, "StateValue": {"OK"}, "StateReason": {"test"}}, &failed)
	if status != 404 || failed.Code != "ResourceNotFound" {
		t.Errorf("set an unknown alarm's state: %d %s", status, failed.Code)
	}
}

// TestCBOR has the SDK put an alarm and read it, which speaks CBOR.
func TestCBOR(t *testing.T) {
	c := newClient(t, newService(t, store.Memory()))
	sdk := sdkcloudwatch.New(sdkcloudwatch.Options{
		Region: "us-west-1", BaseEndpoint: &c.url, Credentials: credentials.NewStaticCredentialsProvider("AKIA", "secret", ""),
		HTTPClient: checkedClient{t},
	})
	begun := time.Now().Truncate(time.Second)
	_, err := sdk.PutMetricAlarm(t.Context(), &sdkcloudwatch.PutMetricAlarmInput{
		AlarmName: aws.String("fives"), Namespace: aws.String("AWS/EC2"), MetricName: aws.String("CPUUtilization"), Statistic: types.StatisticSum,
		Period: aws.Int32(60), EvaluationPeriods: aws.Int32(2), Threshold: aws.Float64(-1.5),
		ComparisonOperator: types.ComparisonOperatorGreaterThanThreshold,
		Dimensions:         []types.Dimension{{Name: aws.String("LoadBalancer"), Value: aws.String("app/hello/1")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	out, err := sdk.DescribeAlarms(t.Context(), &sdkcloudwatch.DescribeAlarmsInput{AlarmNames: []string{"fives"}})
	if err != nil || len(out.MetricAlarms) != 1 {
		t.Fatalf("%+v, %v", out, err)
	}
	a := out.MetricAlarms[0]
	if aws.ToFloat64(a.Threshold) != -1.5 || aws.ToInt32(a.Period) != 60 || !aws.ToBool(a.ActionsEnabled) || aws.ToString(a.Dimensions[0].Value) != "app/hello/1" ||
		a.StateValue != types.StateValueInsufficientData || a.StateUpdatedTimestamp.Before(begun) || a.StateUpdatedTimestamp.After(time.Now()) {
		t.Errorf("alarm: %+v", a)
	}
	_, err = sdk.SetAlarmState(t.Context(), &sdkcloudwatch.SetAlarmStateInput{AlarmName: aws.String("x"), StateReason: aws.String(""), StateValue: types.StateValueOk})
	if e, ok := errors.AsType[*types.ResourceNotFound](err); !ok || e.ErrorMessage() != "Alarm x does not exist" {
		t.Errorf("set an unknown alarm's state: %v", err)
	}
	_, err = sdk.PutMetricData(t.Context(), &sdkcloudwatch.PutMetricDataInput{Namespace: aws.String("a")})
	if e, ok := errors.AsType[smithy.APIError](err); !ok || e.ErrorCode() != "UnknownOperationException" {
		t.Errorf("an operation that is not there: %v", err)
	}
}

// checkedClient checks that answers are in the protocol of the request.
type checkedClient struct{ t *testing.T }

func (c checkedClient) Do(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultClient.Do(r)
	if err == nil && (resp.Header.Get("Smithy-Protocol") != "rpc-v2-cbor" || resp.Header.Get("Content-Type") != "application/cbor") {
		c.t.Errorf("headers of the answer: %v", resp.Header)
	}
	return resp, err
}

// TestJSONVersion checks that an answer is of the version of JSON that the request is.
func TestJSONVersion(t *testing.T) {
	c := newClient(t, newService(t, store.Memory()))
	for _, want := range []string{"application/x-amz-json-1.0", "application/x-amz-json-1.1"} {
		for _, action := range []string{"DescribeAlarms", "PutMetricData"} {
			if _, header, _ := c.sendAll(want, "GraniteServiceVersion20100801."+action, "{}"); header.Get("Content-Type") != want {
				t.Errorf("%s is answered as %s", want, header.Get("Content-Type"))
			}
		}
	}
}

func TestState(t *testing.T) {
	st := store.Memory()
	s := newService(t, st)
	c := newClient(t, s)
	if _, found := s.AlarmState("fives"); found {
		t.Error("an alarm is there before it was put")
	}
	c.json("PutMetricAlarm", fives)
	states := func(s *Service) string { value, _ := s.AlarmState("fives"); return value }
	if got := states(s); got != stateInsufficientData {
		t.Errorf("new alarm is %s", got)
	}
	c.json("SetAlarmState", `{"AlarmName":"fives","StateValue":"ALARM","StateReason":"a test"}`)
	// An update of the settings leaves the state and the tags alone.
	c.json("PutMetricAlarm", strings.ReplaceAll(strings.ReplaceAll(fives, `"Threshold":1`, `"Threshold":5`), "hello\"}]", "other\"}]"))
	if got := states(newService(t, st)); got != stateAlarm {
		t.Errorf("after a restart the alarm is %s", got)
	}
	_, answer := c.json("ListTagsForResource", `{"ResourceARN":"arn:aws:cloudwatch:us-west-1:012345678901:alarm:fives"}`)
	if diff := cmp.Diff(map[string]any{"Tags": []any{map[string]any{"Key": "ingot:app", "Value": "hello"}}}, answer); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	c.json("UntagResource", `{"ResourceARN":"arn:aws:cloudwatch:us-west-1:012345678901:alarm:fives","TagKeys":["ingot:app"]}`)
	c.json("TagResource", `{"ResourceARN":"arn:aws:cloudwatch:us-west-1:012345678901:alarm:fives","Tags":[{"Key":"a","Value":""}]}`)
	_, answer = c.json("ListTagsForResource", `{"ResourceARN":"arn:aws:cloudwatch:us-west-1:012345678901:alarm:fives"}`)
	if diff := cmp.Diff(map[string]any{"Tags": []any{map[string]any{"Key": "a", "Value": ""}}}, answer); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	// Unknown names are no error, and the known ones go.
	if status, answer := c.json("DeleteAlarms", `{"AlarmNames":["nobody","fives"]}`); status != 200 {
		t.Errorf("delete: %d %v", status, answer)
	}
	if _, found := s.AlarmState("fives"); found {
		t.Error("a deleted alarm is there")
	}
}

func TestPages(t *testing.T) {
	c := newClient(t, newService(t, store.Memory()))
	for _, name := range []string{"c", "a", "b", "other"} {
		c.json("PutMetricAlarm", strings.ReplaceAll(fives, `"fives"`, `"`+name+`"`))
	}
	c.json("SetAlarmState", `{"AlarmName":"b","StateValue":"OK","StateReason":"a test"}`)
	names := func(body string) (names []string, next any) {
		_, answer := c.json("DescribeAlarms", body)
		for _, a := range answer["MetricAlarms"].([]any) {
			names = append(names, a.(map[string]any)["AlarmName"].(string))
		}
		return names, answer["NextToken"]
	}
	for body, want := range map[string][]string{
		`{"MaxRecords":3}`:                     {"a", "b", "c"},
		`{"MaxRecords":3,"NextToken":"other"}`: {"other"},
		`{"StateValue":"OK"}`:                  {"b"},
		`{"AlarmNamePrefix":"o"}`:              {"other"},
		`{"AlarmTypes":["CompositeAlarm"]}`:    nil,
	} {
		got, next := names(body)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", body, diff)
		}
		if (next != nil) != (len(got) == 3) {
			t.Errorf("%s: next token %v", body, next)
		}
	}
}

func TestRefusals(t *testing.T) {
	put := func(edits ...string) string { return strings.NewReplacer(edits...).Replace(fives) }
	tests := map[string]struct{ action, body, want string }{
		"no statistic":    {"PutMetricAlarm", put(`"Statistic":"Sum",`, ""), "ValidationError"},
		"unknown":         {"PutMetricAlarm", put(`"Statistic"`, `"Colour"`), "ValidationException"},
		"bad comparison":  {"PutMetricAlarm", put("GreaterThanOrEqualToThreshold", "Greater"), "ValidationException"},
		"bad period":      {"PutMetricAlarm", put(`"Period":60`, `"Period":61`), "ValidationError"},
		"looks too far":   {"PutMetricAlarm", put(`"EvaluationPeriods":2`, `"EvaluationPeriods":1441`), "ValidationError"},
		"both":            {"PutMetricAlarm", put(`"Tags":[`, `"Metrics":[{"Id":"m","Expression":"1"}],"Tags":[`), "ValidationError"},
		"topic's name":    {"PutMetricAlarm", put(`"Tags":[`, `"AlarmActions":["topic"],"Tags":[`), "ValidationError"},
		"short ARN":       {"PutMetricAlarm", put(`"Tags":[`, `"OKActions":["arn:aws:sns:us-west-1:topic"],"Tags":[`), "ValidationError"},
		"unknown state":   {"SetAlarmState", `{"AlarmName":"a","StateValue":"BAD","StateReason":""}`, "ValidationException"},
		"unknown alarm":   {"SetAlarmState", `{"AlarmName":"a","StateValue":"OK","StateReason":""}`, "ResourceNotFound"},
		"bad reason data": {"SetAlarmState", `{"AlarmName":"a","StateValue":"OK","StateReason":"","StateReasonData":"{"}`, "InvalidFormat"},
		"another's ARN":   {"TagResource", `{"ResourceARN":"arn:aws:cloudwatch:us-west-1:1:alarm:a","Tags":[]}`, "ResourceNotFoundException"},
		"metrics":         {"PutMetricData", `{}`, "UnknownOperationException"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, newService(t, store.Memory()))
			if status, answer := c.json(tc.action, tc.body); status < 400 || answer["__type"] != tc.want {
				t.Errorf("%d %v, want %s", status, answer, tc.want)
			}
		})
	}
}

// TestQueries checks the alarms that compute: one query of them is watched.
func TestQueries(t *testing.T) {
	count := metricQuery{ID: "m", MetricStat: &metricStat{Period: 60, Stat: "Sum"}, ReturnData: new(false)}
	ratio := metricQuery{ID: "e", Expression: "m/2"}
	tests := map[string]struct {
		queries []metricQuery
		ok      bool
	}{
		"one watched": {[]metricQuery{count, ratio}, true},
		"none":        {[]metricQuery{count}, false},
		"two":         {[]metricQuery{ratio, {ID: "f", Expression: "m"}}, false},
		"same ID":     {[]metricQuery{ratio, ratio}, false},
		"nothing":     {[]metricQuery{{ID: "e"}}, false},
	}
	for name, tc := range tests {
		s := settings{AlarmName: "a", EvaluationPeriods: new(1), Threshold: new(1.0), Metrics: tc.queries}
		err := s.check()
		if e, _ := errors.AsType[*wire.Error](err); (err == nil) != tc.ok || err != nil && e.Code != "ValidationError" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
