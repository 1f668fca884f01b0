package terraform

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/internal/lines"
)

func TestEvents(t *testing.T) {
	const output = `There are some problems with the CLI configuration:
{"@level":"info","@message":"Terraform 1.11.4","type":"version"}
{"@level":"info","@message":"aws_lb.app: Creating...","type":"apply_start","hook":{"resource":{"addr":"aws_lb.app"},"action":"create"}}
{"@level":"info","@message":"aws_vpc.app: Modifying...","type":"apply_start","hook":{"resource":{"addr":"aws_vpc.app"},"action":"update"}}
{"@level":"info","@message":"aws_vpc.app: Modifications complete","type":"apply_complete","hook":{"resource":{"addr":"aws_vpc.app"},"action":"update","elapsed_seconds":1}}
{"@level":"info","@message":"aws_lb.app: Still creating...","type":"apply_progress","hook":{"resource":{"addr":"aws_lb.app"},"action":"create","elapsed_seconds":10}}
{"@level":"info","@message":"aws_lb.app: Still creating...","type":"apply_progress","hook":{"resource":{"addr":"aws_lb.app"},"action":"create","elapsed_seconds":20}}
{"@level":"info","@message":"aws_lb.app: Creation errored","type":"apply_errored","hook":{"resource":{"addr":"aws_lb.app"},"action":"create","elapsed_seconds":21}}
{"@level":"warn","@message":"Warning: old","type":"diagnostic","diagnostic":{"severity":"warning","summary":"old","detail":""}}
{"@level":"error","@message":"Error: creating load balancer","type":"diagnostic","diagnostic":{"severity":"error","summary":"creating load balancer","detail":"no quota\n\nsee the manual","address":"aws_lb.app","range":{"filename":"loadbalancer.tf","start":{"line":1,"column":1,"byte":0},"end":{"line":1,"column":2,"byte":1}}}}
`
	var log strings.Builder
	var updates []string
	e := &events{log: &log, total: 2, update: func(text string) { updates = append(updates, text) }}
	w := &lines.Writer{Each: e.line}
	for _, part := range []string{output[:100], output[100:1000], output[1000:]} {
		if n, err := w.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatalf("Write = %d, %v", n, err)
		}
	}
	if diff := cmp.Diff([]string{
		"creating aws_lb.app, 0 of 2 done",
		"creating aws_lb.app (10s), 1 of 2 done",
		"creating aws_lb.app (20s), 1 of 2 done",
	}, updates); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"creating load balancer: no quota (aws_lb.app, loadbalancer.tf:1)"}, e.problems); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(`There are some problems with the CLI configuration:
Terraform 1.11.4
aws_lb.app: Creating...
aws_vpc.app: Modifying...
aws_vpc.app: Modifications complete
aws_lb.app: Still creating...
aws_lb.app: Still creating...
aws_lb.app: Creation errored
Warning: old
Error: creating load balancer
no quota

see the manual
`, log.String()); diff != "" {
		t.Error(diff)
	}
}
