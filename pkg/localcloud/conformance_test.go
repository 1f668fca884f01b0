package localcloud

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdkautoscaling "github.com/aws/aws-sdk-go-v2/service/autoscaling"
	sdkcloudwatch "github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	sdkcodedeploy "github.com/aws/aws-sdk-go-v2/service/codedeploy"
	sdkec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	sdkelbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	sdkiam "github.com/aws/aws-sdk-go-v2/service/iam"
	sdks3 "github.com/aws/aws-sdk-go-v2/service/s3"
	sdkservicequotas "github.com/aws/aws-sdk-go-v2/service/servicequotas"
	sdkssm "github.com/aws/aws-sdk-go-v2/service/ssm"
	sdksts "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/encoding/cbor"
	"github.com/aws/smithy-go/middleware"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// The tests here hold the tables of the local cloud against the SDK's own serializers, validators and deserializers, so that drift
// shows at an upgrade.

// sdkClient calls operations of an SDK client by name, without a network.
type sdkClient struct {
	client reflect.Value
	sent   *http.Request
	body   []byte // of what was sent
	answer func(w http.ResponseWriter, r *http.Request)
}

// Do keeps the request and answers it.
func (c *sdkClient) Do(r *http.Request) (*http.Response, error) {
	c.sent = r
	if r.Body != nil {
		c.body, _ = io.ReadAll(r.Body)
	}
	if c.answer == nil {
		return nil, errors.New("there is no network in this test")
	}
	w := httptest.NewRecorder()
	c.answer(w, r)
	return w.Result(), nil
}

// unvalidated lets calls through that lack what they need.
func unvalidated(stack *middleware.Stack) error {
	_, _ = stack.Initialize.Remove("OperationInputValidation")
	return nil
}

// sdkClients returns the SDK's clients by the names of the services.
func sdkClients() map[string]*sdkClient {
	config := func(c *sdkClient) aws.Config {
		return aws.Config{
			Region: "us-west-1", BaseEndpoint: aws.String("http://127.0.0.1"), HTTPClient: c,
			Retryer: func() aws.Retryer { return aws.NopRetryer{} },
			Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
				return aws.Credentials{AccessKeyID: "AKIA", SecretAccessKey: "secret"}, nil
			}),
		}
	}
	clients := map[string]*sdkClient{}
	for name, connect := range map[string]func(aws.Config) any{
		"autoscaling":          func(c aws.Config) any { return sdkautoscaling.NewFromConfig(c) },
		"codedeploy":           func(c aws.Config) any { return sdkcodedeploy.NewFromConfig(c) },
		"ec2":                  func(c aws.Config) any { return sdkec2.NewFromConfig(c) },
		"elasticloadbalancing": func(c aws.Config) any { return sdkelbv2.NewFromConfig(c) },
		"iam":                  func(c aws.Config) any { return sdkiam.NewFromConfig(c) },
		"monitoring":           func(c aws.Config) any { return sdkcloudwatch.NewFromConfig(c) },
		"s3": func(c aws.Config) any {
			return sdks3.NewFromConfig(c, func(o *sdks3.Options) { o.UsePathStyle = true })
		},
		"servicequotas": func(c aws.Config) any { return sdkservicequotas.NewFromConfig(c) },
		"ssm":           func(c aws.Config) any { return sdkssm.NewFromConfig(c) },
		"sts":           func(c aws.Config) any { return sdksts.NewFromConfig(c) },
	} {
		c := &sdkClient{}
		c.client = reflect.ValueOf(connect(config(c)))
		clients[name] = c
	}
	return clients
}

// input returns a new input of an operation; it is not ok where the SDK has no such operation.
func (c *sdkClient) input(operation string) (reflect.Value, bool) {
	method := c.client.MethodByName(operation)
	if !method.IsValid() {
		return reflect.Value{}, false
	}
	return reflect.New(method.Type().In(1).Elem()), true
}

// call makes a call; without validation where validate is false.
func (c *sdkClient) call(t *testing.T, operation string, in reflect.Value, validate bool) (out any, err error) {
	method := c.client.MethodByName(operation)
	args := []reflect.Value{reflect.ValueOf(t.Context()), in}
	if !validate {
		option := reflect.MakeFunc(method.Type().In(2).Elem(), func(args []reflect.Value) []reflect.Value {
			field := args[0].Elem().FieldByName("APIOptions")
			field.Set(reflect.Append(field, reflect.ValueOf(unvalidated)))
			return nil
		})
		args = append(args, option)
	}
	results := method.Call(args)
	err, _ = results[1].Interface().(error)
	return results[0].Interface(), err
}

// marks are values that are told apart, by what they stand for.
type marks struct {
	paths map[string]string // by the value as text
	last  int
}

func (m *marks) number(path string) int {
	m.last++
	m.paths[strconv.Itoa(1000+m.last)] = path
	return 1000 + m.last
}

// fill gives every field a value that is told apart from all others, where that can be. Lists have one element.
func (m *marks) fill(v reflect.Value, path string, depth int, skip func(reflect.StructField) bool) {
	if depth > 9 {
		return
	}
	if v.Type() == reflect.TypeFor[time.Time]() || v.Type() == reflect.TypeFor[wire.Epoch]() {
		at := time.Unix(int64(1_700_000_000+m.number(path)), 0).UTC()
		delete(m.paths, strconv.Itoa(1000+m.last))
		m.paths[at.Format(time.RFC3339)] = path
		if v.Type() == reflect.TypeFor[wire.Epoch]() {
			v.Set(reflect.ValueOf(wire.Epoch{Time: at}))
		} else {
			v.Set(reflect.ValueOf(at))
		}
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		m.fill(v.Elem(), path, depth, skip)
	case reflect.Struct:
		for i := range v.NumField() {
			field := v.Type().Field(i)
			if field.Anonymous && field.Type.Kind() == reflect.Struct {
				m.fill(v.Field(i), path, depth, skip)
			} else if field.IsExported() && !skip(field) {
				m.fill(v.Field(i), path+"."+field.Name, depth+1, skip)
			}
		}
	case reflect.Slice:
		if v.Type() == reflect.TypeFor[json.RawMessage]() || v.Type().Elem() == reflect.TypeFor[json.RawMessage]() { // taken to be refused, and never answered
			return
		}
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte(path))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		m.fill(v.Index(0), path, depth, skip)
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		m.fill(key, path, depth, skip)
		m.fill(value, path, depth, skip)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.String:
		text := "m" + strconv.Itoa(m.number(path))
		delete(m.paths, strconv.Itoa(1000+m.last))
		m.paths[text] = path
		v.SetString(text)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(int64(m.number(path)))
	case reflect.Float64, reflect.Float32:
		v.SetFloat(float64(m.number(path)))
	case reflect.Bool:
		v.SetBool(true)
	}
}

// hollow makes every structure and every list of structures, and gives no field of plain type a value.
func hollow(v reflect.Value, depth int) {
	if depth > 6 || v.Type() == reflect.TypeFor[time.Time]() {
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.Type().Elem().Kind() == reflect.Struct && v.Type().Elem() != reflect.TypeFor[time.Time]() {
			v.Set(reflect.New(v.Type().Elem()))
			hollow(v.Elem(), depth)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				hollow(v.Field(i), depth+1)
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Struct {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			hollow(v.Index(0), depth)
		}
	}
}

// required returns the paths of the fields that the SDK's validator misses in an input.
func required(err error, into map[string]bool) {
	var invalid smithy.InvalidParamsError
	if !errors.As(err, &invalid) {
		return
	}
	for _, problem := range invalid.Errs() {
		param, ok := problem.(smithy.InvalidParamError)
		if !ok {
			continue
		}
		_, path, _ := strings.Cut(param.Field(), ".")
		into[regexp.MustCompile(`\[[^\]]*\]`).ReplaceAllString(path, "")] = true
	}
}

// index is an element of a name that says which one of a list it is.
var index = regexp.MustCompile(`\.(member\.)?\d+`)

// names returns what is on the wire, by the name without the places in lists.
func (c *sdkClient) names(t *testing.T, jsonBody bool) map[string]string {
	t.Helper()
	found := map[string]string{}
	var document any
	switch {
	case c.sent.Header.Get("Content-Type") == "application/cbor":
		value, err := cbor.Decode(c.body)
		if err != nil {
			t.Fatal(err)
		}
		document = plain(value)
	case jsonBody:
		if err := json.Unmarshal(c.body, &document); err != nil {
			t.Fatal(err)
		}
	default:
		form, err := url.ParseQuery(string(c.body))
		if err != nil {
			t.Fatal(err)
		}
		for name := range form {
			found[index.ReplaceAllString(name, "")] = form.Get(name)
		}
		return found
	}
	var walk func(value any, path string)
	walk = func(value any, path string) {
		switch value := value.(type) {
		case map[string]any:
			for name, item := range value {
				walk(item, strings.TrimPrefix(path+"."+name, "."))
			}
		case []any:
			for _, item := range value {
				walk(item, path)
			}
		default:
			found[path] = fmt.Sprint(value)
		}
	}
	walk(document, "")
	return found
}

// plain returns a value in CBOR as one in JSON.
func plain(value cbor.Value) any {
	switch value := value.(type) {
	case cbor.Map:
		object := map[string]any{}
		for name, item := range value {
			object[name] = plain(item)
		}
		return object
	case cbor.List:
		var list []any
		for _, item := range value {
			list = append(list, plain(item))
		}
		return list
	}
	return value
}

// parameter is a field of one of our inputs.
type parameter struct {
	name     string // on the wire, dotted
	required bool
	enum     []string
}

// fieldsOf returns the fields of an input and of what is in it.
func fieldsOf(t reflect.Type, tag, path string) []parameter {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8 {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t == reflect.TypeFor[time.Time]() || t == reflect.TypeFor[wire.Epoch]() {
		return nil
	}
	var all []parameter
	for field := range t.Fields() {
		if field.Anonymous && field.Type.Kind() == reflect.Struct {
			all = append(all, fieldsOf(field.Type, tag, path)...)
			continue
		}
		name, _, _ := strings.Cut(field.Tag.Get(tag), ",")
		if tag == "json" && name == "" {
			name = field.Name
		}
		if name == "" || name == "-" || !field.IsExported() {
			continue
		}
		name = strings.TrimPrefix(path+"."+name, ".")
		p := parameter{name: name}
		for option := range strings.SplitSeq(field.Tag.Get("wire"), ",") {
			p.required = p.required || option == "required"
			if values, ok := strings.CutPrefix(option, "enum="); ok {
				p.enum = strings.Split(values, "|")
			}
		}
		all = append(append(all, p), fieldsOf(field.Type, tag, name)...)
	}
	return all
}

// typeAt returns the type of a field of an SDK input, by its path.
func typeAt(t reflect.Type, path string) reflect.Type {
	for name := range strings.SplitSeq(path, ".") {
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		field, ok := t.FieldByName(name)
		if !ok {
			return nil
		}
		t = field.Type
	}
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	return t
}

// enumeration returns the values of an SDK type, or nil for one that takes any.
func enumeration(t reflect.Type) []string {
	method, ok := t.MethodByName("Values")
	if !ok {
		return nil
	}
	values := method.Func.Call([]reflect.Value{reflect.Zero(t)})[0]
	var all []string
	for i := range values.Len() {
		all = append(all, values.Index(i).String())
	}
	return all
}

// TestInputsConform checks names, required parameters and enumerations of the inputs.
func TestInputsConform(t *testing.T) {
	clients, report := sdkClients(), excepting(t, inputExceptions())
	for _, service := range apis() {
		client := clients[service.Name]
		if client == nil || service.Protocol == wire.REST {
			continue
		}
		tag := "query"
		if service.Protocol == wire.JSON {
			tag = "json"
		}
		for _, operation := range service.OperationNames() {
			for _, problem := range inputProblems(t, client, operation, service.Actions[operation].Input, tag) {
				report(service.Name + " " + operation + ": " + problem)
			}
		}
	}
}

func inputProblems(t *testing.T, client *sdkClient, operation string, ours reflect.Type, tag string) (problems []string) {
	in, ok := client.input(operation)
	if !ok {
		return []string{"the SDK has no such operation"}
	}
	needed := map[string]bool{}
	_, err := client.call(t, operation, in, true)
	required(err, needed)
	hollow(in.Elem(), 0)
	_, err = client.call(t, operation, in, true)
	required(err, needed)

	in, _ = client.input(operation)
	m := &marks{paths: map[string]string{}}
	m.fill(in.Elem(), "", 0, func(reflect.StructField) bool { return false })
	client.sent = nil
	_, err = client.call(t, operation, in, false)
	if client.sent == nil {
		return []string{fmt.Sprintf("the SDK sends nothing: %v", err)}
	}
	sent := client.names(t, tag == "json")

	covered := map[string]bool{}
	for _, p := range fieldsOf(ours, tag, "") {
		value, isLeaf := sent[p.name]
		path := strings.TrimPrefix(m.paths[value], ".")
		if !isLeaf { // a structure: its path is that of something in it, without the end
			// The least deep of them: a map has more parts on the wire.
			for _, name := range slices.SortedFunc(maps.Keys(sent), func(a, b string) int {
				return cmp.Or(cmp.Compare(strings.Count(a, "."), strings.Count(b, ".")), cmp.Compare(a, b))
			}) {
				value := sent[name]
				if rest, ok := strings.CutPrefix(name, p.name+"."); ok && m.paths[value] != "" {
					isLeaf = true
					segments := strings.Split(strings.TrimPrefix(m.paths[value], "."), ".")
					path = strings.Join(segments[:max(0, len(segments)-strings.Count(rest, ".")-1)], ".")
					break
				}
			}
			if !isLeaf && !slices.ContainsFunc(slices.Collect(maps.Keys(sent)), func(name string) bool { return strings.HasPrefix(name, p.name+".") }) {
				problems = append(problems, fmt.Sprintf("the SDK sends no parameter %s", p.name))
				continue
			}
		}
		if path == "" { // a flag: its place is not told from its value
			continue
		}
		covered[path] = true
		if p.required != needed[path] {
			problems = append(problems, fmt.Sprintf("%s is required: %v, for the SDK: %v", p.name, p.required, needed[path]))
		}
		if kind := typeAt(in.Type().Elem(), path); kind != nil && p.enum != nil {
			if values := enumeration(kind); values != nil {
				for _, value := range p.enum {
					if !slices.Contains(values, value) {
						problems = append(problems, fmt.Sprintf("%s cannot be %s for the SDK", p.name, value))
					}
				}
			}
		}
	}
	for path := range needed {
		if !covered[path] && !strings.Contains(path, ".") && in.Type().Elem().Kind() == reflect.Struct {
			if kind := typeAt(in.Type().Elem(), path); kind != nil && kind.Kind() != reflect.Bool {
				problems = append(problems, fmt.Sprintf("%s, which the SDK requires, is not there", path))
			}
		}
	}
	slices.Sort(problems)
	return problems
}

// TestOutputsConform checks that the SDK finds everything that the answers hold.
func TestOutputsConform(t *testing.T) {
	clients, report := sdkClients(), excepting(t, outputExceptions())
	for _, service := range apis() {
		client := clients[service.Name]
		if client == nil || service.Protocol == wire.REST {
			continue
		}
		for _, operation := range service.OperationNames() {
			for _, problem := range outputProblems(t, client, &service, operation) {
				report(service.Name + " " + operation + ": " + problem)
			}
		}
	}
}

func outputProblems(t *testing.T, client *sdkClient, service *wire.Service, operation string) (problems []string) {
	in, ok := client.input(operation)
	if !ok {
		return nil // said of the input
	}
	out := reflect.New(service.Actions[operation].Output)
	m := &marks{paths: map[string]string{}}
	m.fill(out.Elem(), "", 0, func(field reflect.StructField) bool {
		return field.Tag.Get("xml") == "-" || service.Protocol == wire.JSON && field.Tag.Get("json") == "-"
	})
	client.answer = func(w http.ResponseWriter, r *http.Request) {
		if err := service.Answer(w, r, operation, out.Interface()); err != nil {
			t.Errorf("%s: %v", operation, err)
		}
	}
	defer func() { client.answer = nil }()
	got, err := client.call(t, operation, in, false)
	if err != nil {
		return []string{err.Error()}
	}
	values := map[string]bool{}
	collect(reflect.ValueOf(got), values, 0)
	for value, path := range m.paths {
		if !values[value] {
			problems = append(problems, "the SDK does not find "+strings.TrimPrefix(path, "."))
		}
	}
	slices.Sort(problems)
	return slices.Compact(problems)
}

// collect keeps every value as text.
func collect(v reflect.Value, into map[string]bool, depth int) {
	if depth > 20 || !v.IsValid() {
		return
	}
	if at, ok := v.Interface().(time.Time); ok {
		into[at.UTC().Truncate(time.Second).Format(time.RFC3339)] = true
		return
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			collect(v.Elem(), into, depth+1)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				collect(v.Field(i), into, depth+1)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			collect(v.Index(i), into, depth+1)
		}
	case reflect.Map:
		for entries := v.MapRange(); entries.Next(); {
			collect(entries.Key(), into, depth+1)
			collect(entries.Value(), into, depth+1)
		}
	case reflect.String:
		into[v.String()] = true
	case reflect.Int, reflect.Int32, reflect.Int64:
		into[strconv.FormatInt(v.Int(), 10)] = true
	case reflect.Float64, reflect.Float32:
		into[strconv.FormatFloat(v.Float(), 'f', -1, 64)] = true
	}
}

// TestS3RoutesConform checks that what the SDK sends for an operation is found to be that operation.
func TestS3RoutesConform(t *testing.T) {
	client := sdkClients()["s3"]
	for _, service := range apis() {
		if service.Name != "s3" {
			continue
		}
		for _, operation := range service.OperationNames() {
			in, ok := client.input(operation)
			if !ok {
				t.Errorf("the SDK has no operation %s", operation)
				continue
			}
			hollow(in.Elem(), 0)
			for field, value := range map[string]string{"Bucket": "bucket", "Key": "key", "CopySource": "bucket/other", "UploadId": "1"} {
				if v := in.Elem().FieldByName(field); v.IsValid() {
					v.Set(reflect.ValueOf(&value))
				}
			}
			client.sent = nil
			_, err := client.call(t, operation, in, false)
			if client.sent == nil {
				t.Errorf("%s: the SDK sends nothing: %v", operation, err)
			} else if got := service.Operation(client.sent); got != operation {
				t.Errorf("%s %s is taken for %q, want %s", client.sent.Method, client.sent.URL, got, operation)
			}
		}
	}
}

// excepting returns a function that reports a problem, unless a pattern excepts it. At the end, each pattern must have been of use.
func excepting(t *testing.T, patterns map[string]string) func(problem string) {
	used := map[string]bool{}
	t.Cleanup(func() {
		for pattern := range patterns {
			if !used[pattern] {
				t.Errorf("an exception is not needed any more: %s", pattern)
			}
		}
	})
	return func(problem string) {
		for pattern := range patterns {
			if ok, err := path.Match(pattern, problem); ok && err == nil {
				used[pattern] = true
				return
			}
		}
		t.Error(problem)
	}
}

// inputExceptions are differences from the SDK that are meant, as patterns, each with its reason.
func inputExceptions() map[string]string {
	const (
		checked = "the operation checks it, for an error of its own that says what is missing"
		needed  = "AWS refuses a request without it, though its model does not say so"
		only    = "the local cloud has this alternative alone"
		shared  = "operations share their parameters"
	)
	return map[string]string{
		"autoscaling CreateAutoScalingGroup: LifecycleHookSpecificationList.LifecycleTransition is required: false, *": checked,
		"autoscaling TerminateInstanceInAutoScalingGroup: InstanceId is required: true, *":                             needed,

		"codedeploy *: * is required: false, for the SDK: true": checked,

		"ec2 CreateLaunchTemplateVersion: LaunchTemplateData is required: false, *":        "an empty one, which a source version fills, is not on the wire",
		"ec2 AssociateRouteTable: SubnetId is required: true, *":                           only,
		"ec2 *: IpPermissions.IpRanges.CidrIp is required: true, *":                        needed,
		"ec2 *: IpPermissions.Ipv6Ranges.CidrIpv6 is required: true, *":                    needed,
		"ec2 *SecurityGroupEgress: GroupId is required: false, *":                          checked,
		"ec2 *SecurityGroupEgress: the SDK sends no parameter GroupName":                   shared,
		"ec2 CreateRoute: DestinationCidrBlock is required: true, *":                       only,
		"ec2 CreateRoute: GatewayId is required: true, *":                                  only,
		"ec2 DeleteRoute: DestinationCidrBlock is required: true, *":                       only,
		"ec2 CreateSubnet: CidrBlock is required: true, *":                                 only,
		"ec2 CreateVpc: CidrBlock is required: true, *":                                    only,
		"ec2 Describe*: Filter.Name is required: true, *":                                  needed,
		"ec2 ModifySecurityGroupRules: SecurityGroupRule.SecurityGroupRule is required: *": needed,

		"monitoring PutMetricAlarm: * is required: true, *": needed,

		"elasticloadbalancing CreateListener: DefaultActions is required: false, *":                       checked,
		"elasticloadbalancing *: DefaultActions.ForwardConfig.TargetGroups.TargetGroupArn is required: *": needed,
		"elasticloadbalancing CreateLoadBalancer: SubnetMappings.SubnetId is required: true, *":           needed,
		"elasticloadbalancing CreateTargetGroup: * is required: true, *":                                  "target groups of instances need it",
		"elasticloadbalancing Modify*Attributes: Attributes.Key is required: true, *":                     needed,
	}
}

// outputExceptions are what answers could hold that the SDK does not look for, as patterns, each with its reason.
func outputExceptions() map[string]string {
	const empty = "operations share the type; here it stays empty"
	return map[string]string{
		"ec2 DescribeInstances: the SDK does not find Reservations.Instances.Interfaces.*":  empty,
		"ec2 RunInstances: the SDK does not find Instances.Interfaces.*":                    empty,
		"elasticloadbalancing *: the SDK does not find NextMarker":                          empty,
		"elasticloadbalancing DescribeCapacityReservation: the SDK does not find *.Members": "the list is always empty",
		"ssm DescribeParameters: the SDK does not find Parameters.*":                        empty,
		"ssm GetParameterHistory: the SDK does not find Parameters.ARN":                     empty,
	}
}
