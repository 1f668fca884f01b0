package ec2

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
)

// TestDocumentedFilters asks each operation with each filter that AWS documents for it, and with another one.
func TestDocumentedFilters(t *testing.T) {
	data, err := os.ReadFile("testdata/filters.txt")
	if err != nil {
		t.Fatal(err)
	}
	c := start(t)
	c.query("CreateLaunchTemplate", "LaunchTemplateName=web\nLaunchTemplateData.InstanceType=t3.micro")
	asked := 0
	operation := ""
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		if name, rest, ok := strings.Cut(line, ": "); ok && !strings.HasPrefix(line, "\t") {
			operation, line = name, rest+" no-such-filter"
		}
		for name := range strings.FieldsSeq(line) {
			asked++
			if strings.HasSuffix(name, ":") { // tag:KEY
				name += "key"
			}
			parameters := "Filter.1.Name=" + name + "\nFilter.1.Value.1=x"
			if operation == "DescribeLaunchTemplateVersions" {
				parameters += "\nLaunchTemplateName=web"
			}
			status, answer := c.query(operation, parameters)
			refused := strings.Contains(answer, "<Code>InvalidParameterValue</Code><Message>The filter &#39;"+name+"&#39; is invalid</Message>")
			if want := name == "no-such-filter"; refused != want || !want && status != 200 {
				t.Errorf("%s with the filter %s: %d %s", operation, name, status, answer)
			}
		}
	}
	if asked < 400 {
		t.Errorf("asked for %d filters, want all that are documented", asked)
	}
}

// TestFilterValues finds an instance, and what belongs to it, by what it is.
func TestFilterValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t)
		_, answer := c.query("RunInstances", "ImageId="+c.sourceAMI()+"\nInstanceType=t3.micro\nMinCount=1\nMaxCount=1\nIamInstanceProfile.Name=web"+
			"\nTagSpecification.1.ResourceType=network-interface\nTagSpecification.1.Tag.1.Key=k\nTagSpecification.1.Tag.1.Value=v")
		if !strings.Contains(answer, "<instanceId>") {
			t.Fatal(answer)
		}
		synctest.Wait()
		for _, test := range []struct{ operation, filter, value, other string }{
			{"DescribeInstances", "availability-zone-id", "usw1-az1", "usw1-az9"},
			{"DescribeInstances", "block-device-mapping.delete-on-termination", "true", "false"},
			{"DescribeInstances", "block-device-mapping.status", "attached", "attaching"},
			{"DescribeInstances", "boot-mode", "uefi-preferred", "uefi"},
			{"DescribeInstances", "ebs-optimized", "false", "true"},
			{"DescribeInstances", "hypervisor", "xen", "ovm"},
			{"DescribeInstances", "iam-instance-profile.id", "AIPAweb", "AIPAother"},
			{"DescribeInstances", "instance.group-name", "default", "web"},
			{"DescribeInstances", "metadata-options.http-put-response-hop-limit", "?", "??"},
			{"DescribeInstances", "metadata-options.http-endpoint", "enabled", "disabled"},
			{"DescribeInstances", "network-interface.attachment.device-index", "0", "1"},
			{"DescribeInstances", "network-interface.group-name", "default", "web"},
			{"DescribeInstances", "network-interface.ipv6-address", "", "*"},
			{"DescribeInstances", "network-interface.owner-id", "000000000001", "000000000002"},
			{"DescribeInstances", "network-interface.private-dns-name", "ip-*.us-west-1.compute.internal", "x"},
			{"DescribeInstances", "network-interface.status", "in-use", "available"},
			{"DescribeInstances", "network-interface.tag-value", "v", "w"},
			{"DescribeInstances", "owner-id", "000000000001", "000000000002"},
			{"DescribeInstances", "placement-group-name", "", "*"},
			{"DescribeInstances", "source-dest-check", "true", "false"},
			{"DescribeInstanceStatus", "availability-zone-id", "usw1-az1", "usw1-az9"},
			{"DescribeNetworkInterfaces", "addresses.primary", "true", "false"},
			{"DescribeNetworkInterfaces", "attachment.delete-on-termination", "true", "false"},
			{"DescribeNetworkInterfaces", "private-dns-name", "ip-*", "x"},
			{"DescribeVolumes", "availability-zone-id", "usw1-az?", "usw1-az9"},
			{"DescribeSubnets", "available-ip-address-count", "4090", "1"},
			{"DescribeSubnets", "subnet-arn", "arn:aws:ec2:us-west-1:000000000001:subnet/*", "arn"},
			{"DescribeNetworkAcls", "entry.rule-number", "100", "101"},
			{"DescribeImages", "block-device-mapping.volume-size", "*", "x"},
		} {
			for value, want := range map[string]bool{test.value: true, test.other: false} {
				if value == "" { // nothing has any
					continue
				}
				status, answer := c.query(test.operation, fmt.Sprintf("Filter.1.Name=%s\nFilter.1.Value.1=%s", test.filter, value))
				if got := strings.Contains(answer, "<item>"); status != 200 || got != want {
					t.Errorf("%s with %s=%s: %v, want %v", test.operation, test.filter, value, got, want)
				}
			}
		}
	})
}

// TestDeleteNetworkACLEntry deletes what a default ACL begins with.
func TestDeleteNetworkACLEntry(t *testing.T) {
	c := start(t)
	_, answer := c.query("DescribeNetworkAcls", "Filter.1.Name=default\nFilter.1.Value.1=true")
	_, id, _ := strings.Cut(answer, "<networkAclId>")
	id, _, _ = strings.Cut(id, "<")
	remove := func(id, egress, number string) string {
		_, answer := c.query("DeleteNetworkAclEntry", "NetworkAclId="+id+"\nEgress="+egress+"\nRuleNumber="+number)
		return answer
	}
	for _, test := range []struct{ id, egress, number, want string }{
		{id, "true", "100", "<return>true</return>"},
		{id, "true", "100", "InvalidNetworkAclEntry.NotFound"},
		{id, "false", "32767", "InvalidNetworkAclEntry.NotFound"},
		{"acl-00000000", "false", "100", "InvalidNetworkAclID.NotFound"},
	} {
		if answer := remove(test.id, test.egress, test.number); !strings.Contains(answer, test.want) {
			t.Errorf("%s %s %s: %s, want %s", test.id, test.egress, test.number, answer, test.want)
		}
	}
	c.restart()
	_, answer = c.query("DescribeNetworkAcls", "NetworkAclId.1="+id)
	if n, open := strings.Count(answer, "<ruleNumber>32767<"), strings.Count(answer, "<ruleNumber>100<"); n != 2 || open != 1 {
		t.Errorf("%d entries that deny and %d that allow, want 2 and 1: %s", n, open, answer)
	}
}
