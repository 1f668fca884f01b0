package policy

import (
	"encoding/json"
	"strings"
	"testing"
)

// vocabulary is what the documents of these tests may name.
func vocabulary(key string) (many, known bool) {
	many, known = map[string]bool{
		"aws:tagkeys": true, "aws:username": false, "aws:sourceip": false, "aws:currenttime": false, "ec2:volumesize": false,
		"ec2:launchtemplate": false, "aws:securetransport": false, "issuer:sub": false,
	}[key]
	return many, known || strings.HasPrefix(key, "aws:resourcetag/") || strings.HasPrefix(key, "aws:requesttag/")
}

func parse(t *testing.T, kind Kind, statements string) []*Document {
	t.Helper()
	d, err := Parse(`{"Version": "2012-10-17", "Statement": [`+statements+`]}`, kind, vocabulary)
	if err != nil {
		t.Fatalf("%s: %v", statements, err)
	}
	return []*Document{d}
}

func TestDecide(t *testing.T) {
	const instance = "arn:aws:ec2:us-west-1:123456789012:instance/i-1"
	const allowAll = `{"Effect": "Allow", "Action": "*", "Resource": "*"}`
	for _, test := range []struct {
		statements, action, resource string
		want                         Decision
	}{
		{allowAll, "ec2:RunInstances", instance, Allowed},
		{allowAll, "ec2:DescribeInstances", "*", Allowed},
		{`{"Effect": "Allow", "Action": "ec2:runinstances", "Resource": "*"}`, "ec2:RunInstances", instance, Allowed},
		{`{"Effect": "Allow", "Action": "ec2:Describe*", "Resource": "*"}`, "ec2:DescribeInstances", "*", Allowed},
		{`{"Effect": "Allow", "Action": "ec2:Describe*", "Resource": "*"}`, "ec2:RunInstances", instance, NotAllowed},
		{`{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}`, "ec2:RunInstances", instance, NotAllowed},
		{`{"Effect": "Allow", "Action": "ec2:RunInstance?", "Resource": "*"}`, "ec2:RunInstances", instance, Allowed},
		{`{"Effect": "Allow", "Action": "ec2:RunInstances?", "Resource": "*"}`, "ec2:RunInstances", instance, NotAllowed},
		{`{"Effect": "Allow", "Action": ["s3:GetObject", "ec2:RunInstances"], "Resource": "*"}`, "ec2:RunInstances", instance, Allowed},
		{`{"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}`, "ec2:RunInstances", instance, Allowed},
		{`{"Effect": "Allow", "NotAction": "ec2:Run*", "Resource": "*"}`, "ec2:RunInstances", instance, NotAllowed},

		{`{"Effect": "Allow", "Action": "*", "Resource": "` + instance + `"}`, "ec2:RunInstances", instance, Allowed},
		{`{"Effect": "Allow", "Action": "*", "Resource": "arn:aws:ec2:*:*:instance/*"}`, "ec2:RunInstances", instance, Allowed},
		{`{"Effect": "Allow", "Action": "*", "Resource": "arn:aws:ec2:us-west-1:123456789012:*/*"}`, "ec2:RunInstances", instance, Allowed},
		// An asterisk stops at a colon, but in the last part.
		{`{"Effect": "Allow", "Action": "*", "Resource": "arn:aws:*:instance/i-1:::"}`, "ec2:RunInstances", instance, NotAllowed},
		{`{"Effect": "Allow", "Action": "*", "Resource": "arn:aws:ec2:*:image/*:*"}`, "ec2:DeregisterImage", "arn:aws:ec2:us-west-1::image/ami-1", NotAllowed},
		{
			`{"Effect": "Allow", "Action": "*", "Resource": "arn:aws:autoscaling:r:1:autoScalingGroup:*:autoScalingGroupName/hello"}`,
			"autoscaling:StartInstanceRefresh", "arn:aws:autoscaling:r:1:autoScalingGroup:u-u:autoScalingGroupName/hello", Allowed,
		},
		{
			`{"Effect": "Allow", "Action": "*", "Resource": "arn:aws:autoscaling:r:1:autoScalingGroup:*:autoScalingGroupName/hello"}`,
			"autoscaling:StartInstanceRefresh", "arn:aws:autoscaling:r:1:autoScalingGroup:u-u:autoScalingGroupName/hello-other", NotAllowed,
		},
		{`{"Effect": "Allow", "Action": "*", "Resource": "arn:aws:s3:::b/*"}`, "s3:GetObject", "arn:aws:s3:::b/a/b:c", Allowed},
		{`{"Effect": "Allow", "Action": "*", "Resource": "arn:aws:s3:::b/*"}`, "s3:ListBucket", "arn:aws:s3:::b", NotAllowed},
		{`{"Effect": "Allow", "Action": "*", "Resource": "arn:aws:ec2:*:*:instance/*"}`, "ec2:DescribeInstances", "*", NotAllowed},
		{`{"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:ec2:*:*:instance/*"}`, "ec2:RunInstances", instance, NotAllowed},
		{`{"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:ec2:*:*:volume/*"}`, "ec2:RunInstances", instance, Allowed},

		// A denial wins, wherever it stands.
		{allowAll + `, {"Effect": "Deny", "Action": "ec2:*", "Resource": "*"}`, "ec2:RunInstances", instance, Denied},
		{`{"Effect": "Deny", "Action": "ec2:*", "Resource": "*"}, ` + allowAll, "ec2:RunInstances", instance, Denied},
		{allowAll + `, {"Effect": "Deny", "Action": "s3:*", "Resource": "*"}`, "ec2:RunInstances", instance, Allowed},
		{allowAll + `, {"Effect": "Deny", "NotAction": "ec2:*", "Resource": "*"}`, "s3:GetObject", "arn:aws:s3:::b/k", Denied},

		// Variables stand for a value as it is, and for nothing where there is none.
		{`{"Effect": "Allow", "Action": "*", "Resource": "arn:aws:s3:::b/${aws:username}/*"}`, "s3:GetObject", "arn:aws:s3:::b/a*n/k", Allowed},
		{`{"Effect": "Allow", "Action": "*", "Resource": "arn:aws:s3:::b/${aws:username}/*"}`, "s3:GetObject", "arn:aws:s3:::b/ann/k", NotAllowed},
		{`{"Effect": "Allow", "Action": "*", "Resource": "arn:aws:s3:::b/${aws:SourceIp}"}`, "s3:GetObject", "arn:aws:s3:::b/", NotAllowed},
		{`{"Effect": "Allow", "Action": "*", "Resource": "arn:aws:s3:::b/${aws:SourceIp, 'none'}"}`, "s3:GetObject", "arn:aws:s3:::b/none", Allowed},
		{`{"Effect": "Allow", "Action": "*", "Resource": "arn:aws:s3:::b/${*}"}`, "s3:GetObject", "arn:aws:s3:::b/*", Allowed},
		{`{"Effect": "Allow", "Action": "*", "Resource": "arn:aws:s3:::b/${*}"}`, "s3:GetObject", "arn:aws:s3:::b/k", NotAllowed},
	} {
		r := Request{Action: test.action, Resource: test.resource, Keys: Keys{"aws:username": {"a*n"}}}
		if got := Decide(parse(t, Identity, test.statements), r); got != test.want {
			t.Errorf("%s\n%s on %s: %d, want %d", test.statements, test.action, test.resource, got, test.want)
		}
	}
	if got := Decide(nil, Request{Action: "sts:GetCallerIdentity", Resource: "*"}); got != NotAllowed {
		t.Errorf("without a document: %d", got)
	}
	// A document denies what another one allows.
	both := append(parse(t, Identity, allowAll), parse(t, Identity, `{"Effect": "Deny", "Action": "*", "Resource": "*"}`)...)
	if got := Decide(both, Request{Action: "ec2:RunInstances", Resource: instance}); got != Denied {
		t.Errorf("two documents: %d", got)
	}
	// Variables came with the newer version.
	old, err := Parse(`{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "arn:aws:s3:::b/${aws:username}"}}`, Identity, vocabulary)
	if err != nil {
		t.Fatal(err)
	}
	r := Request{Action: "s3:GetObject", Resource: "arn:aws:s3:::b/${aws:username}", Keys: Keys{"aws:username": {"ann"}}}
	if got := Decide([]*Document{old}, r); got != Allowed {
		t.Errorf("a variable in a document of 2008: %d", got)
	}
}

func TestConditions(t *testing.T) {
	keys := func(pairs ...string) Keys {
		k := Keys{}
		for _, pair := range pairs {
			name, value, _ := strings.Cut(pair, "=")
			k[name] = append(k[name], value)
		}
		return k
	}
	app, template := "aws:resourcetag/app", "ec2:launchtemplate"
	for _, test := range []struct {
		condition string
		keys      Keys
		want      bool
	}{
		{`"StringEquals": {"aws:ResourceTag/app": "hello"}`, keys(app + "=hello"), true},
		{`"StringEquals": {"AWS:resourcetag/App": "hello"}`, keys(app + "=hello"), true}, // names differ in case
		{`"StringEquals": {"aws:ResourceTag/app": "hello"}`, keys(app + "=Hello"), false},
		{`"StringEquals": {"aws:ResourceTag/app": "hello"}`, nil, false},
		{`"StringEquals": {"aws:ResourceTag/app": "hel*"}`, keys(app + "=hello"), false},
		{`"StringEquals": {"aws:ResourceTag/app": "hel*"}`, keys(app + "=hel*"), true},
		{`"StringEquals": {"aws:ResourceTag/app": ["other", "hello"]}`, keys(app + "=hello"), true},
		{`"StringEquals": {"aws:ResourceTag/app": "${aws:username}"}`, keys(app+"=ann", "aws:username=ann"), true},
		{`"StringEquals": {"aws:ResourceTag/app": "${aws:username}"}`, keys(app + "=ann"), false},
		{`"StringEqualsIfExists": {"aws:ResourceTag/app": "hello"}`, nil, true},
		{`"StringEqualsIfExists": {"aws:ResourceTag/app": "hello"}`, keys(app + "=other"), false},
		{`"StringNotEquals": {"aws:ResourceTag/app": "hello"}`, keys(app + "=other"), true},
		{`"StringNotEquals": {"aws:ResourceTag/app": "hello"}`, keys(app + "=hello"), false},
		{`"StringNotEquals": {"aws:ResourceTag/app": ["hello", "other"]}`, keys(app + "=other"), false},
		{`"StringNotEquals": {"aws:ResourceTag/app": "hello"}`, nil, true},
		{`"StringEqualsIgnoreCase": {"aws:ResourceTag/app": "hello"}`, keys(app + "=HELLO"), true},
		{`"StringNotEqualsIgnoreCase": {"aws:ResourceTag/app": "hello"}`, keys(app + "=HELLO"), false},
		{`"StringLike": {"aws:ResourceTag/app": "h*l?o"}`, keys(app + "=h/e:llo"), true},
		{`"StringLike": {"aws:ResourceTag/app": "h*l?o"}`, keys(app + "=hello-other"), false},
		{`"StringNotLike": {"aws:ResourceTag/app": "h*"}`, keys(app + "=hello"), false},
		{`"StringNotLike": {"aws:ResourceTag/app": "h*"}`, keys(app + "=other"), true},

		// All of several conditions have to hold, of keys and of operators.
		{`"StringEquals": {"aws:ResourceTag/app": "hello", "aws:username": "ann"}`, keys(app+"=hello", "aws:username=ann"), true},
		{`"StringEquals": {"aws:ResourceTag/app": "hello", "aws:username": "ann"}`, keys(app + "=hello"), false},
		{`"StringEquals": {"aws:ResourceTag/app": "hello"}, "Null": {"aws:username": "false"}`, keys(app + "=hello"), false},
		{`"StringEquals": {"aws:ResourceTag/app": "hello"}, "Null": {"aws:username": "false"}`, keys(app+"=hello", "aws:username=ann"), true},

		{`"Null": {"aws:ResourceTag/app": "true"}`, nil, true},
		{`"Null": {"aws:ResourceTag/app": true}`, keys(app + "=hello"), false},
		{`"Null": {"aws:TagKeys": "false"}`, keys("aws:tagkeys=a", "aws:tagkeys=b"), true},

		{`"ForAllValues:StringLike": {"aws:TagKeys": ["Name", "ingot:*"]}`, keys("aws:tagkeys=Name", "aws:tagkeys=ingot:app"), true},
		{`"ForAllValues:StringLike": {"aws:TagKeys": ["Name", "ingot:*"]}`, keys("aws:tagkeys=Name", "aws:tagkeys=CostCenter"), false},
		{`"ForAllValues:StringLike": {"aws:TagKeys": ["Name", "ingot:*"]}`, nil, true},
		{`"ForAnyValue:StringEquals": {"aws:TagKeys": "Name"}`, keys("aws:tagkeys=Other", "aws:tagkeys=Name"), true},
		{`"ForAnyValue:StringEquals": {"aws:TagKeys": "Name"}`, keys("aws:tagkeys=Other"), false},
		{`"ForAnyValue:StringEquals": {"aws:TagKeys": "Name"}`, nil, false},
		{`"ForAnyValue:StringEqualsIfExists": {"aws:TagKeys": "Name"}`, nil, true},
		{`"ForAllValues:StringNotEquals": {"aws:TagKeys": "Name"}`, keys("aws:tagkeys=Other", "aws:tagkeys=Name"), false},
		{`"ForAnyValue:StringNotEquals": {"aws:TagKeys": "Name"}`, keys("aws:tagkeys=Other", "aws:tagkeys=Name"), true},
		{`"ForAnyValue:StringNotEquals": {"aws:TagKeys": "Name"}`, nil, false},

		{`"ArnEquals": {"ec2:LaunchTemplate": "arn:aws:ec2:r:1:launch-template/lt-1"}`, keys(template + "=arn:aws:ec2:r:1:launch-template/lt-1"), true},
		{`"ArnLike": {"ec2:LaunchTemplate": "arn:aws:ec2:*:*:launch-template/*"}`, keys(template + "=arn:aws:ec2:r:1:launch-template/lt-1"), true},
		{`"ArnLike": {"ec2:LaunchTemplate": "arn:aws:ec2:*:launch-template/*"}`, keys(template + "=arn:aws:ec2:r:1:launch-template/lt-1"), false},
		{`"ArnEquals": {"ec2:LaunchTemplate": "arn:aws:ec2:r:1:launch-template/lt-1"}`, nil, false},
		{`"ArnNotEquals": {"ec2:LaunchTemplate": "arn:aws:ec2:r:1:launch-template/lt-1"}`, keys(template + "=arn:aws:ec2:r:1:launch-template/lt-2"), true},
		{`"ArnNotLike": {"ec2:LaunchTemplate": "arn:aws:ec2:*:*:launch-template/*"}`, keys(template + "=arn:aws:ec2:r:1:launch-template/lt-2"), false},

		{`"Bool": {"aws:SecureTransport": true}`, keys("aws:securetransport=true"), true},
		{`"Bool": {"aws:SecureTransport": "False"}`, keys("aws:securetransport=true"), false},
		{`"Bool": {"aws:SecureTransport": "true"}`, nil, false},
		{`"BoolIfExists": {"aws:SecureTransport": "true"}`, nil, true},

		{`"NumericLessThanEquals": {"ec2:VolumeSize": "8"}`, keys("ec2:volumesize=8"), true},
		{`"NumericLessThanEquals": {"ec2:VolumeSize": 8}`, keys("ec2:volumesize=10"), false},
		{`"NumericLessThan": {"ec2:VolumeSize": "8"}`, keys("ec2:volumesize=8"), false},
		{`"NumericGreaterThan": {"ec2:VolumeSize": "8"}`, keys("ec2:volumesize=8.5"), true},
		{`"NumericGreaterThanEquals": {"ec2:VolumeSize": "8"}`, keys("ec2:volumesize=8"), true},
		{`"NumericEquals": {"ec2:VolumeSize": "8"}`, keys("ec2:volumesize=8.0"), true},
		{`"NumericNotEquals": {"ec2:VolumeSize": "8"}`, keys("ec2:volumesize=8"), false},
		{`"NumericLessThan": {"ec2:VolumeSize": "8"}`, keys("ec2:volumesize=many"), false},
		{`"NumericLessThanEqualsIfExists": {"ec2:VolumeSize": "8"}`, nil, true},

		{`"DateGreaterThan": {"aws:CurrentTime": "2026-01-01T00:00:00Z"}`, keys("aws:currenttime=2026-07-01T12:00:00Z"), true},
		{`"DateLessThan": {"aws:CurrentTime": "2026-01-01"}`, keys("aws:currenttime=2026-07-01T12:00:00Z"), false},
		{`"DateLessThanEquals": {"aws:CurrentTime": "1893456000"}`, keys("aws:currenttime=2026-07-01T12:00:00Z"), true},
		{`"DateEquals": {"aws:CurrentTime": "2026-07-01T14:00:00+02:00"}`, keys("aws:currenttime=2026-07-01T12:00:00Z"), true},
		{`"DateNotEquals": {"aws:CurrentTime": "2026"}`, keys("aws:currenttime=2026-01-01T00:00:00Z"), false},

		{`"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}`, keys("aws:sourceip=10.1.2.3"), true},
		{`"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "127.0.0.1"]}`, keys("aws:sourceip=127.0.0.1"), true},
		{`"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}`, keys("aws:sourceip=11.1.2.3"), false},
		{`"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}`, keys("aws:sourceip=11.1.2.3"), true},
		{`"IpAddress": {"aws:SourceIp": "2001:db8::/32"}`, keys("aws:sourceip=2001:db8::1"), true},
	} {
		document := parse(t, Identity, `{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {`+test.condition+`}}`)
		got := Decide(document, Request{Action: "ec2:RunInstances", Resource: "*", Keys: test.keys}) == Allowed
		if got != test.want {
			t.Errorf("%s with %v: %v, want %v", test.condition, test.keys, got, test.want)
		}
	}
}

func TestTrust(t *testing.T) {
	const issuer = "arn:aws:iam::123456789012:oidc-provider/issuer"
	ec2, github := Principal{"Service", "ec2.amazonaws.com"}, Principal{"Federated", issuer}
	root, role := Principal{"AWS", "arn:aws:iam::123456789012:root"}, Principal{"AWS", "arn:aws:iam::123456789012:role/r"}
	for _, test := range []struct {
		principal string
		from      Principal
		want      Decision
	}{
		{`{"Service": "ec2.amazonaws.com"}`, ec2, Allowed},
		{`{"Service": ["codedeploy.amazonaws.com", "ec2.amazonaws.com"]}`, ec2, Allowed},
		{`{"Service": "codedeploy.amazonaws.com"}`, ec2, NotAllowed},
		{`{"AWS": "*"}`, ec2, NotAllowed},
		{`{"AWS": "*"}`, role, Allowed},
		{`"*"`, github, Allowed},
		{`{"AWS": "123456789012"}`, root, Allowed},
		{`{"AWS": "123456789012"}`, role, NotAllowed},
		{`{"AWS": "arn:aws:iam::123456789012:role/r"}`, role, Allowed},
		{`{"Federated": "` + issuer + `"}`, github, Allowed},
		{`{"Federated": "` + issuer + `-other"}`, github, NotAllowed},
		{`{"Federated": "` + issuer + `", "Service": "ec2.amazonaws.com"}`, ec2, Allowed},
	} {
		document := parse(t, Trust, `{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": `+test.principal+`}`)
		if got := Decide(document, Request{Action: "sts:AssumeRole", Principals: []Principal{test.from}}); got != test.want {
			t.Errorf("%s trusts %v: %d, want %d", test.principal, test.from, got, test.want)
		}
		r := Request{Action: "sts:AssumeRoleWithWebIdentity", Principals: []Principal{test.from}}
		if got := Decide(document, r); got != NotAllowed {
			t.Errorf("%s trusts %v with another action", test.principal, test.from)
		}
	}
	of := parse(t, Trust, `{"Effect": "Allow", "Action": "sts:AssumeRoleWithWebIdentity", "Principal": {"Federated": "`+issuer+`"},
		"Condition": {"StringEquals": {"issuer:sub": ["repo:a/b:environment:production", "repo:a/b:pull_request"]}}}`)
	for sub, want := range map[string]Decision{
		"repo:a/b:environment:production": Allowed, "repo:a/b:pull_request": Allowed, "repo:a/b:environment:staging": NotAllowed, "": NotAllowed,
	} {
		r := Request{Action: "sts:AssumeRoleWithWebIdentity", Principals: []Principal{github}, Keys: Keys{"issuer:sub": {sub}}}
		if got := Decide(of, r); got != want {
			t.Errorf("the subject %q: %d, want %d", sub, got, want)
		}
	}
}

// TestParseRefuses is about documents that must not be taken, since a part of them would have no effect.
func TestParseRefuses(t *testing.T) {
	statement := func(rest string) string {
		return `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"` + rest + `}}`
	}
	if _, err := Parse(statement(""), Identity, vocabulary); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"nothing":                     ``,
		"no JSON":                     `{`,
		"no object":                   `[]`,
		"two documents":               statement("") + statement(""),
		"no statement":                `{"Version": "2012-10-17"}`,
		"an empty list":               `{"Version": "2012-10-17", "Statement": []}`,
		"another version":             `{"Version": "2020-01-01", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}`,
		"an unknown element":          `{"Version": "2012-10-17", "Comment": "", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}`,
		"an unknown one in it":        statement(`, "Comment": ""`),
		"the case of an element":      statement(`, "condition": {}`),
		"an element twice":            statement(`, "Action": "ec2:*"`),
		"a principal":                 statement(`, "Principal": "*"`),
		"an action and its opposite":  statement(`, "NotAction": "ec2:*"`),
		"a resource and its opposite": statement(`, "NotResource": "*"`),
		"no effect":                   `{"Statement": {"Action": "*", "Resource": "*"}}`,
		"the case of the effect":      `{"Statement": {"Effect": "allow", "Action": "*", "Resource": "*"}}`,
		"no action":                   `{"Statement": {"Effect": "Allow", "Resource": "*"}}`,
		"no actions":                  `{"Statement": {"Effect": "Allow", "Action": [], "Resource": "*"}}`,
		"an action without service":   `{"Statement": {"Effect": "Allow", "Action": "RunInstances", "Resource": "*"}}`,
		"a service with a wildcard":   `{"Statement": {"Effect": "Allow", "Action": "e*:RunInstances", "Resource": "*"}}`,
		"a number for an action":      `{"Statement": {"Effect": "Allow", "Action": 1, "Resource": "*"}}`,
		"no resource":                 `{"Statement": {"Effect": "Allow", "Action": "*"}}`,
		"a resource that is no ARN":   `{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "instance/*"}}`,
		"a short ARN":                 `{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "arn:aws:s3:*"}}`,
		"a name twice": `{"Statement": [{"Sid": "A", "Effect": "Allow", "Action": "*", "Resource": "*"},
			{"Sid": "A", "Effect": "Allow", "Action": "*", "Resource": "*"}]}`,
		"a name with spaces":              statement(`, "Sid": "a b"`),
		"a condition that is a list":      statement(`, "Condition": []`),
		"an unknown operator":             statement(`, "Condition": {"StringMatches": {"aws:username": "a"}}`),
		"the case of an operator":         statement(`, "Condition": {"stringEquals": {"aws:username": "a"}}`),
		"an unknown quantifier":           statement(`, "Condition": {"ForNoValue:StringEquals": {"aws:TagKeys": "a"}}`),
		"an unknown key":                  statement(`, "Condition": {"StringEquals": {"aws:MultiFactorAuthPresent": "true"}}`),
		"a list of one value":             statement(`, "Condition": {"StringEquals": {"aws:TagKeys": "a"}}`),
		"a condition without values":      statement(`, "Condition": {"StringEquals": {"aws:username": []}}`),
		"a condition of an object":        statement(`, "Condition": {"StringEquals": {"aws:username": {}}}`),
		"a condition twice":               statement(`, "Condition": {"StringEquals": {"aws:username": "a", "aws:UserName": "b"}}`),
		"no number":                       statement(`, "Condition": {"NumericEquals": {"ec2:VolumeSize": "many"}}`),
		"no time":                         statement(`, "Condition": {"DateEquals": {"aws:CurrentTime": "noon"}}`),
		"no network":                      statement(`, "Condition": {"IpAddress": {"aws:SourceIp": "home"}}`),
		"no truth value":                  statement(`, "Condition": {"Bool": {"aws:SecureTransport": "yes"}}`),
		"whether there is one, if any":    statement(`, "Condition": {"NullIfExists": {"aws:username": "true"}}`),
		"an unknown variable":             statement(`, "Condition": {"StringEquals": {"aws:username": "${aws:PrincipalTag/x}"}}`),
		"a variable that does not end":    statement(`, "Condition": {"StringEquals": {"aws:username": "${aws:username"}}`),
		"a variable of many values":       statement(`, "Condition": {"StringEquals": {"aws:username": "${aws:TagKeys}"}}`),
		"a default value without quotes":  statement(`, "Condition": {"StringEquals": {"aws:username": "${aws:SourceIp, x}"}}`),
		"nested without end":              strings.Repeat(`{"Statement":`, 100) + strings.Repeat(`}`, 100),
		"an operator with a set of nulls": statement(`, "Condition": {"ForAllValues:Null": {"aws:TagKeys": "true"}}`),
	} {
		if _, err := Parse(text, Identity, vocabulary); err == nil {
			t.Errorf("%s: %s was taken", name, text)
		}
	}
	for name, principal := range map[string]string{
		"no principal": `null`, "an empty one": `{}`, "a kind that there is not": `{"CanonicalUser": "a"}`, "a part of a name": `{"AWS": "arn:aws:iam::1:role/*"}`,
		"no service": `{"Service": "ec2"}`, "no text": `{"AWS": [1]}`,
	} {
		text := `{"Statement": {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": ` + principal + `}}`
		if _, err := Parse(text, Trust, vocabulary); err == nil {
			t.Errorf("%s: %s was taken", name, text)
		}
	}
	if _, err := Parse(statement(""), Trust, vocabulary); err == nil {
		t.Error("a trust policy with a resource was taken")
	}
}

// FuzzParse holds that a document which is taken is understood: with one more element, an operator that there is not, or a name
// twice, it is refused. Deciding by it must not fail, and it denies nothing unless it says so.
func FuzzParse(f *testing.F) {
	f.Add(`{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ec2:*", "Resource": "arn:aws:ec2:*:*:*/*"}]}`)
	f.Add(`{"Statement": {"Sid": "A", "Effect": "Deny", "NotAction": ["s3:Get*", "*"], "NotResource": "*"}}`)
	f.Add(`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*",
		"Condition": {"ForAllValues:StringLike": {"aws:TagKeys": ["a*", "${aws:username, 'x'}"]}, "Null": {"aws:SourceIp": true}}}}`)
	f.Add(`{"Statement": {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": ["*", "123456789012"]}}}`)
	f.Add(`{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "arn:aws:s3:::****?*?**", "Condition": {"NumericLessThanIfExists": {"ec2:VolumeSize": 1e3}}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		for _, kind := range []Kind{Identity, Trust} {
			d, err := Parse(text, kind, vocabulary)
			if err != nil {
				continue
			}
			r := Request{
				Action: "s3:GetObject", Resource: "arn:aws:s3:::b/key", Principals: []Principal{{"AWS", "arn:aws:iam::123456789012:root"}},
				Keys: Keys{"aws:tagkeys": {"a", "b"}, "aws:username": {"*"}, "ec2:volumesize": {"8"}},
			}
			if Decide([]*Document{d}, r) == Denied && !strings.Contains(text, "D") && !strings.Contains(text, `\u`) {
				t.Errorf("%s denies", text)
			}
			var object map[string]any
			if err := json.Unmarshal([]byte(text), &object); err != nil {
				t.Fatalf("%s was taken and is not JSON: %v", text, err)
			}
			object["Extra"] = 1
			more, _ := json.Marshal(object)
			if _, err := Parse(string(more), kind, vocabulary); err == nil {
				t.Errorf("%s was taken", more)
			}
			if end := strings.TrimRight(text, " \t\r\n"); strings.HasSuffix(end, "}") {
				twice := end[:len(end)-1] + `, "Statement": {}}`
				if _, err := Parse(twice, kind, vocabulary); err == nil {
					t.Errorf("%s was taken", twice)
				}
			}
		}
	})
}
