package iam

import (
	"slices"
	"strings"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/iam/policy"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// services are what begins the names of the condition keys that a call to this cloud can have.
func services() []string {
	return []string{"autoscaling", "aws", "cloudwatch", "codedeploy", "ec2", "elasticloadbalancing", "iam", "kms", "s3", "servicequotas", "ssm", "sts"}
}

// conditionKeys are the condition keys that calls here have where AWS documents them, and those that are known never to be there. The
// value tells those that have many values.
func conditionKeys() map[string]bool {
	return map[string]bool{
		"aws:CurrentTime": false, "aws:EpochTime": false, "aws:PrincipalAccount": false, "aws:PrincipalArn": false,
		"aws:PrincipalIsAWSService": false, "aws:PrincipalType": false, "aws:RequestedRegion": false, "aws:SecureTransport": false,
		"aws:SourceAccount": false, "aws:SourceArn": false, "aws:SourceIp": false, "aws:TagKeys": true, "aws:UserAgent": false,
		"aws:userid": false, "aws:username": false, // a role's session has no user name
		"aws:ViaAWSService": false,

		"autoscaling:LaunchConfigurationName": false, "autoscaling:LaunchTemplateVersionSpecified": false, "autoscaling:MaxSize": false,
		"autoscaling:MinSize": false, "autoscaling:TargetGroupARNs": true, "autoscaling:VPCZoneIdentifiers": true,

		"ec2:Attribute": false, "ec2:AvailabilityZone": false, "ec2:CreateAction": false, "ec2:InstanceProfile": false,
		"ec2:InstanceType": false, "ec2:IsLaunchTemplateResource": false, "ec2:LaunchTemplate": false, "ec2:MetadataHttpTokens": false,
		"ec2:Owner": false, "ec2:Public": false, "ec2:Region": false, "ec2:Vpc": false,

		"elasticloadbalancing:CreateAction": false,

		"iam:PassedToService": false,

		"kms:CallerAccount": false, "kms:GranteePrincipal": false, "kms:GrantOperations": true,
		"kms:GrantIsForAWSResource": false, "kms:ViaService": false, // no service calls KMS for somebody here

		"s3:delimiter": false, "s3:prefix": false, "s3:VersionId": false,

		"ssm:Overwrite": false,

		"sts:ExternalId": false, "sts:RoleSessionName": false,
	}
}

// tagKeys begin the condition keys that end with the key of a tag.
func tagKeys() []string {
	return []string{
		"aws:RequestTag/", "aws:ResourceTag/", "autoscaling:ResourceTag/", "ec2:ResourceTag/", "elasticloadbalancing:ResourceTag/",
		"iam:ResourceTag/", "ssm:ResourceTag/",
	}
}

// vocabulary says which condition keys policies can name. What no call here ever has is refused, as a condition on it would decide
// otherwise than on AWS.
func vocabulary() policy.Vocabulary {
	known := map[string]bool{}
	for key, many := range conditionKeys() {
		known[policy.Name(key)] = many
	}
	return func(key string) (many, ok bool) {
		if many, ok := known[key]; ok {
			return many, true
		}
		for _, prefix := range tagKeys() {
			if len(key) > len(prefix) && strings.HasPrefix(key, policy.Name(prefix)) {
				return false, true
			}
		}
		owner, name := key, ""
		if end := strings.LastIndex(key, ":"); end > 0 {
			owner, name = key[:end], key[end+1:]
		}
		if strings.ContainsAny(owner, "./") { // an identity provider's
			return false, name == "aud" || name == "sub"
		}
		// A key of a service that there is not is in no call that it could matter to.
		return false, name != "" && !strings.Contains(owner, ":") && !slices.Contains(services(), owner)
	}
}

// parse reads a policy document.
func parse(document string, kind policy.Kind) (*policy.Document, error) {
	d, err := policy.Parse(document, kind, vocabulary())
	if err != nil {
		return nil, wire.Errorf("MalformedPolicyDocument", "Syntax errors in policy: %v.", err)
	}
	return d, nil
}
