package ami

import (
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/tag"
)

func TestAllowSSH(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const opened = "open sg-new 192.0.2.1/32 2001:db8::1/128"
		f := &fakeEC2{fail: map[string][]error{opened: {failing("InvalidGroup.NotFound")}, "look at sg-new": {failing("InvalidGroup.NotFound")}}}
		group, err := (&Client{api: f}).AllowSSH(t.Context(), "hello-app", "vpc-1", []string{"192.0.2.1/32", "2001:db8::1/128"}, map[string]string{tag.App: "hello", tag.Run: run1})
		if err != nil || group != "sg-new" {
			t.Errorf("AllowSSH = %q, %v", group, err)
		}
		want := []string{"create bake hello-app in vpc-1 ingot:app=hello ingot:run=" + run1, opened, opened, "look at sg-new", "look at sg-new"}
		if diff := cmp.Diff(want, f.did); diff != "" {
			t.Error(diff)
		}
	})
}
