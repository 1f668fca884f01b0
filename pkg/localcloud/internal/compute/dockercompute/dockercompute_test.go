package dockercompute

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/compute"
	"github.com/ingot-build/ingot/pkg/machine"
)

func TestNewChecksCloudID(t *testing.T) {
	for id, ok := range map[string]bool{
		"0": true, "a1b2": true, "my-cloud": true,
		"": false, "My": false, "a_b": false, "-a": false, "a--b": false, "a/b": false,
	} {
		if _, err := New(nil, Options{CloudID: id}); (err == nil) != ok {
			t.Errorf("%q: got %v", id, err)
		}
	}
}

func TestLabels(t *testing.T) {
	c, err := New(nil, Options{CloudID: "one", Labels: map[string]string{"owner": "me", cloudLabel: "one"}})
	if err != nil {
		t.Fatal(err)
	}
	got := c.labels(map[string]string{instanceLabel: "i-1"})
	want := map[string]string{"ingot.cloud": "one", "ingot.instance": "i-1", "owner": "me"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestMachineOf(t *testing.T) {
	labels := map[string]string{instanceLabel: "i-1"}
	address := netip.MustParseAddr("172.18.0.2")
	for _, tt := range []struct {
		info machine.Info
		want compute.Machine
	}{
		{machine.Info{Labels: labels, State: machine.Running, Address: address}, compute.Machine{ID: "i-1", State: compute.Running, Address: address}},
		{machine.Info{Labels: labels, State: machine.Stopped}, compute.Machine{ID: "i-1", State: compute.Stopped}},
		{machine.Info{Labels: labels, State: machine.Created}, compute.Machine{ID: "i-1", State: compute.Stopped}},
	} {
		if got := machineOf(tt.info); got != tt.want {
			t.Errorf("got %+v, want %+v", got, tt.want)
		}
	}
}

func TestOwnTags(t *testing.T) {
	c, err := New(nil, Options{CloudID: "one"})
	if err != nil {
		t.Fatal(err)
	}
	own, others := c.splitTags([]string{
		"ingot-one/source:x86_64", "ingot-one/ami-1:latest",
		"ingot-one-two/source:x86_64", "ingot-two/source:x86_64", "ingot-machine:debian-13-amd64-0123",
	})
	if diff := cmp.Diff([]string{"ingot-one/source:x86_64", "ingot-one/ami-1:latest"}, own); diff != "" {
		t.Errorf("own (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{"ingot-one-two/source:x86_64", "ingot-two/source:x86_64", "ingot-machine:debian-13-amd64-0123"}, others); diff != "" {
		t.Errorf("others (-want +got)\n%s", diff)
	}
}
