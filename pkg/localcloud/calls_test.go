package localcloud

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// list reads a list of operations from testdata: one a line, with a reason after a colon or without one.
func list(t *testing.T, name string, reasons bool) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		operation, reason, found := strings.Cut(line, ": ")
		if found != reasons || reasons && reason == "" {
			t.Errorf("%s: %q: want a reason: %v", name, line, reasons)
		}
		all = append(all, operation)
	}
	if !slices.IsSorted(all) {
		t.Errorf("%s is not in order", name)
	}
	return all
}

// TestOperationsAreCalled keeps the local cloud's bound: it has what the suites call, and what somebody gave a reason for.
func TestOperationsAreCalled(t *testing.T) {
	called, uncalled, all := list(t, "calls.txt", false), list(t, "uncalled.txt", true), Operations()
	for _, operation := range all {
		inCalled, inUncalled := slices.Contains(called, operation), slices.Contains(uncalled, operation)
		switch {
		case inCalled && inUncalled:
			t.Errorf("%s is in calls.txt, so that it needs no reason in uncalled.txt", operation)
		case !inCalled && !inUncalled:
			t.Errorf("nothing calls %s: remove it, or say in testdata/uncalled.txt why it is there", operation)
		}
	}
	for _, operation := range slices.Concat(called, uncalled) {
		if !slices.Contains(all, operation) {
			t.Errorf("testdata names %s, which the cloud does not have", operation)
		}
	}
}

func TestRecordedCalls(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "calls")
	if got, err := RecordedCalls(folder); got != nil || err != nil {
		t.Errorf("a folder that is not there: %v, %v", got, err)
	}
	for range 2 { // two clouds at once
		r, err := newCallRecorder(folder)
		if err != nil {
			t.Fatal(err)
		}
		defer r.close()
		for range 2 {
			r.add(wire.Call{Service: "s3", Action: "PUT /bucket/key", Operation: "PutObject"})
			r.add(wire.Call{Service: "ec2", Action: "RunInstances", Operation: "RunInstances"})
			r.add(wire.Call{Service: "ec2", Action: "Nonsense"})
			r.add(wire.Call{Service: controlName, Action: "Ping", Operation: "Ping"})
		}
	}
	for name, text := range map[string]string{"killed.calls": "sts GetCallerIdentity\nec2 Runn", "notes.txt": "ec2 Nothing\n"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := RecordedCalls(folder)
	if diff := cmp.Diff([]string{"ec2 RunInstances", "s3 PutObject", "sts GetCallerIdentity"}, got); diff != "" || err != nil {
		t.Errorf("recorded (-want +got):\n%s%v", diff, err)
	}
	missing, unused := CompareCalls([]string{"ec2 RunInstances", "iam GetRole"}, got)
	if diff := cmp.Diff([][]string{{"s3 PutObject", "sts GetCallerIdentity"}, {"iam GetRole"}}, [][]string{missing, unused}); diff != "" {
		t.Errorf("missing and unused (-want +got):\n%s", diff)
	}
	var none *callRecorder
	none.add(wire.Call{Service: "ec2", Operation: "RunInstances"})
	none.close()
}

// TestOperationsSayWhatTheyNeed keeps policies complete: an operation that does not say what it needs is refused to every role.
func TestOperationsSayWhatTheyNeed(t *testing.T) {
	for _, service := range apis() {
		for _, operation := range service.Unguarded() {
			t.Errorf("%s %s does not say what its caller needs to be allowed", service.Name, operation)
		}
	}
}
