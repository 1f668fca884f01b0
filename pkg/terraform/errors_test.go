package terraform

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseErrors(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       []string
	}{
		{name: "nothing", text: "Initializing the backend...\n"},
		{name: "boxes", text: `
╷
│ Warning: Unable to open CLI configuration file
│ 
│ The CLI configuration file at "/root/.terraformrc" does not exist.
╵
╷
│ Error: creating EC2 VPC: operation error EC2: CreateVpc, https response error StatusCode: 400, api error VpcLimitExceeded: The maximum number of VPCs has been reached.
│ 
│   with aws_vpc.app,
│   on network.tf line 24, in resource "aws_vpc" "app":
│   24: resource "aws_vpc" "app" {
│ 
╵
╷
│ Error: Invalid value for variable
│ 
│   on variables.tf line 31:
│   31: variable "health_path" {
│     ├────────────────
│     │ var.health_path is "healthz"
│ 
│ health_path begins with a slash and has at most 1024 printable characters
│ without spaces.
│ 
│ This was checked by the validation rule at variables.tf:37,3-13.
╵
`, want: []string{
			"creating EC2 VPC: operation error EC2: CreateVpc, https response error StatusCode: 400, api error VpcLimitExceeded: The maximum number of VPCs has been reached. (aws_vpc.app, network.tf:24)",
			"Invalid value for variable: health_path begins with a slash and has at most 1024 printable characters without spaces. (variables.tf:31)",
		}},
		{name: "no boxes", text: `
Error: Failed to query available provider packages

Could not retrieve the list of available versions for provider hashicorp/aws:
could not connect to registry.terraform.io

To see which modules are currently depending on hashicorp/aws, run terraform providers

Error: Backend initialization required

  on versions.tf line 15, in terraform:
  15:   backend "local" {}
`, want: []string{
			"Failed to query available provider packages: Could not retrieve the list of available versions for provider hashicorp/aws: could not connect to registry.terraform.io",
			"Backend initialization required (versions.tf:15)",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, parseErrors(test.text)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestErrorText(t *testing.T) {
	for _, test := range []struct {
		err  Error
		want string
	}{
		{
			err:  Error{Operation: "plan", Problems: []string{"it broke"}, Log: "/tmp/terraform.log", Err: errors.New("exit status 1")},
			want: "terraform plan: it broke (see /tmp/terraform.log)",
		},
		{
			err:  Error{Operation: "apply", Problems: []string{"one", "two"}, Log: "/tmp/terraform.log"},
			want: "terraform apply: 2 errors:\n  one\n  two\n  (see /tmp/terraform.log)",
		},
		{
			err:  Error{Operation: "init", Err: errors.New("exit status 1\nnoise\n"), Log: "/tmp/terraform.log"},
			want: "terraform init: exit status 1 (see /tmp/terraform.log)",
		},
	} {
		if diff := cmp.Diff(test.want, test.err.Error()); diff != "" {
			t.Error(diff)
		}
	}
}

func TestLockedStateHasARemedy(t *testing.T) {
	locked := parseErrors(`
╷
│ Error: Error acquiring the state lock
│ 
│ Error message: resource temporarily unavailable
│ Lock Info:
│   ID:        c0ffee
│   Path:      /state/hello.tfstate
│   Operation: OperationTypeApply
│   Who:       me@laptop
│   Version:   1.11.4
│   Created:   2026-11-22 18:03:01.123456789 +0000 UTC
│   Info:      
│ 
│ 
│ Terraform acquires a state lock to protect the state from being written
│ by multiple users at the same time.
╵
`)
	if len(locked) != 1 {
		t.Fatalf("parseErrors found %q", locked)
	}
	full := parseErrors(`
╷
│ Error: Error acquiring the state lock
│ 
│ Error message: write /state/.hello.tfstate.lock.info: no space left on
│ device
│ 
│ Terraform acquires a state lock to protect the state from being written
│ by multiple users at the same time.
╵
`)
	if got, want := new(Stack).withRemedy(full[0]), "the state cannot be locked: write /state/.hello.tfstate.lock.info: no space left on device"; got != want {
		t.Errorf("a full disk: %s", got)
	}
	const says = "the state is locked by a run of me@laptop (Apply): wait for it to end; if it is dead, "
	local := &Stack{DataDir: "/data", StatePath: "/state/hello.tfstate"}
	if diff := cmp.Diff(says+"`fuser -v /state/hello.tfstate` names the process to end", local.withRemedy(locked[0])); diff != "" {
		t.Error(diff)
	}
	shared := &Stack{DataDir: "/data", StatePath: "/state/hello.tfstate", S3: &S3{Bucket: "states"}}
	if diff := cmp.Diff(says+"`TF_DATA_DIR=/data/data terraform -chdir=/data/stack force-unlock c0ffee` releases the lock", shared.withRemedy(locked[0])); diff != "" {
		t.Error(diff)
	}
}
