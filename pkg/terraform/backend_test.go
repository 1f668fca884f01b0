package terraform

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	emptyState = `{"version": 4, "serial": 1, "lineage": "a", "resources": []}`
	oldState   = `{"version": 4, "serial": 7, "lineage": "a", "resources": [{"type": "aws_vpc"}]}`
	newState   = `{"version": 4, "serial": 9, "lineage": "a", "resources": [{"type": "aws_vpc"}]}`
	otherState = `{"version": 4, "serial": 3, "lineage": "b", "resources": [{"type": "aws_vpc"}]}`
	otherEmpty = `{"version": 4, "serial": 3, "lineage": "b", "resources": []}`
)

// sharedStack is a stack whose state is in a bucket, with a local state from before unless that is "".
func sharedStack(t *testing.T, dir, local string, answers map[string]string) *Stack {
	t.Helper()
	s := newStack(t, dir, answers)
	s.StatePath = filepath.Join(dir, "hello.tfstate")
	s.S3 = &S3{Bucket: "states", Key: "ingot/hello/us-west-1.tfstate", Region: "eu-west-1"}
	if local != "" {
		writeFile(t, s.StatePath, local)
	}
	return s
}

func TestSharedState(t *testing.T) {
	dir := t.TempDir()
	s := sharedStack(t, dir, "", nil)
	if err := s.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"init -no-color -input=false -backend=true -get=true -upgrade=false -reconfigure"}, args(calls(t, dir))); diff != "" {
		t.Error(diff)
	}
	backend, err := os.ReadFile(filepath.Join(dir, "data", "stack", backendFile))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{
  "terraform": {
    "backend": {
      "s3": {
        "bucket": "states",
        "key": "ingot/hello/us-west-1.tfstate",
        "region": "eu-west-1",
        "encrypt": true,
        "use_lockfile": true
      }
    }
  }
}
`
	if diff := cmp.Diff(want, string(backend)); diff != "" {
		t.Error(diff)
	}
	s.S3 = nil
	if err := s.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "data", "stack", backendFile)); err == nil {
		t.Error("the S3 backend outlives its setting")
	}
}

func TestMoveState(t *testing.T) {
	const pull, push = "state pull", "state push -lock=true -lock-timeout=30s DIR/hello.tfstate"
	for name, test := range map[string]struct {
		local, shared string
		want          []string // after init
		wantErr       string
	}{
		"nothing local":          {},
		"first time":             {local: oldState, want: []string{pull, push}},
		"nothing made yet":       {local: emptyState, want: []string{pull}},
		"moved, but not said so": {local: oldState, shared: oldState, want: []string{pull}},
		"moved, and went on":     {local: oldState, shared: newState, want: []string{pull}},
		"the local one went on":  {local: newState, shared: oldState, want: []string{pull, push}},
		"the shared one has been emptied": {
			local: oldState, shared: otherEmpty,
			want: []string{pull, strings.Replace(push, "push", "push -force", 1)},
		},
		"two stacks": {
			local: oldState, shared: otherState, want: []string{pull},
			wantErr: "terraform state: DIR/hello.tfstate and s3://states/ingot/hello/us-west-1.tfstate both hold infrastructure, and not the same (see DIR/data/terraform.log)",
		},
		"no state": {local: "{", wantErr: "read the state DIR/hello.tfstate: unexpected end of JSON input"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := sharedStack(t, dir, test.local, map[string]string{"state.stdout": test.shared})
			err := s.Init(t.Context())
			if diff := cmp.Diff(test.wantErr, strings.ReplaceAll(message(err), dir, "DIR")); diff != "" {
				t.Fatal(diff)
			}
			if conflict, ok := errors.AsType[*StateConflictError](err); ok != (test.shared == otherState) || ok && conflict.File != s.StatePath {
				t.Errorf("error %#v", err)
			}
			if diff := cmp.Diff(test.want, append([]string(nil), args(calls(t, dir))[1:]...)); diff != "" {
				t.Error(diff)
			}
			if test.local == "" {
				return
			}
			kept := s.StatePath + ".moved-to-states"
			if test.wantErr != "" {
				kept = s.StatePath
			}
			if data, err := os.ReadFile(kept); err != nil || string(data) != test.local {
				t.Errorf("the local state became %q, %v", data, err)
			}
		})
	}
}

func TestMoveStateFails(t *testing.T) {
	dir := t.TempDir()
	s := sharedStack(t, dir, oldState, map[string]string{"state.exit": "1", "state.stderr": "\nError: Access Denied\n"})
	err := s.Init(t.Context())
	if diff := cmp.Diff("terraform state: Access Denied (see DIR/data/terraform.log)", strings.ReplaceAll(message(err), dir, "DIR")); diff != "" {
		t.Error(diff)
	}
	if _, err := os.Stat(s.StatePath); err != nil {
		t.Error(err)
	}
}

// A stack that was shared and is not any more would be made a second time.
func TestStateWasMoved(t *testing.T) {
	dir := t.TempDir()
	s := sharedStack(t, dir, oldState, nil)
	if err := s.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.S3 = nil
	err := s.Init(t.Context())
	moved, _ := errors.AsType[*MovedStateError](err)
	if diff := cmp.Diff(&MovedStateError{Bucket: "states", File: s.StatePath + ".moved-to-states"}, moved); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(`the state was moved to the bucket "states"`, message(err)); diff != "" {
		t.Error(diff)
	}
}
