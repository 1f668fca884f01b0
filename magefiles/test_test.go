//go:build mage

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/internal/lines"
	"github.com/ingot-build/ingot/pkg/config"
	"github.com/ingot-build/ingot/pkg/progress"
)

func TestTestReport(t *testing.T) {
	var notes []string
	r := newTestReport(func(line string) { notes = append(notes, line) })
	l := &lines.Writer{Each: r.event}
	for _, part := range []string{
		`{"Action":"run","Package":"p","Test":"TestOne"}` + "\n" + `{"Action":"output","Package":"p","Test":"TestOne","Output":"quiet\n"}` + "\n" + `{"Action":"pa`,
		`ss","Package":"p","Test":"TestOne"}` + "\n",
		`{"Action":"output","Package":"p","Test":"TestTwo","Output":"no docker\n"}` + "\n" + `{"Action":"skip","Package":"p","Test":"TestTwo"}` + "\n",
		`{"Action":"output","Package":"p","Test":"TestThree","Output":"it broke\n"}` + "\n" + `{"Action":"fail","Package":"p","Test":"TestThree"}` + "\n",
		`{"Action":"build-output","ImportPath":"q","Output":"does not compile\n"}` + "\n" + `{"Action":"build-fail","ImportPath":"q"}` + "\n",
		"not JSON\n",
	} {
		if _, err := l.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"skipped: no docker"}, notes); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"it broke\n", "does not compile\n", "not JSON\n"}, r.failed); diff != "" {
		t.Error(diff)
	}
}

func TestTimings(t *testing.T) {
	r := newTestReport(func(string) {})
	for _, line := range []string{
		`{"Action":"pass","Package":"example.org/x/machine","Test":"TestBoot","Elapsed":61.5}`,
		`{"Action":"fail","Package":"example.org/x/machine","Test":"TestExec/streams","Elapsed":7}`,
		`{"Action":"skip","Package":"example.org/x/machine","Test":"TestPage","Elapsed":60}`,
		`{"Action":"pass","Package":"example.org/x/machine","Test":"TestQuick","Elapsed":0.1}`,
		`{"Action":"pass","Package":"example.org/x/quick","Elapsed":0.1}`,
		`{"Action":"fail","Package":"example.org/x/machine","Elapsed":70}`,
	} {
		r.event(line)
	}
	var took timings
	took.add("unit tests", 75*time.Second, r)
	var out strings.Builder
	if err := took.print(&out); err != nil {
		t.Fatal(err)
	}
	want := `WHERE THE TIME WENT
unit tests                   1m15s
  machine                    1m10s
    machine TestBoot         1m2s
    machine TestExec/streams 7.0s
all                          1m15s
`
	if diff := cmp.Diff(strings.Fields(want), strings.Fields(out.String())); diff != "" {
		t.Errorf("(-want +got):\n%s\n%s", diff, &out)
	}
}

func TestMorePackages(t *testing.T) {
	got := morePackages(
		[]string{"x/ami [a_test.go] []", "x/machine [m_test.go] []", "x/pkg/targets [] []"},
		[]string{"x/ami [a_test.go] []", "x/machine [i_test.go m_test.go] []", "x/pkg/targets [] [t_test.go]"}, "/pkg/targets")
	if diff := cmp.Diff([]string{"x/pkg/targets", "x/machine"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCheckCalls(t *testing.T) {
	root, recorded := t.TempDir(), t.TempDir()
	list := filepath.Join(root, "pkg", "localcloud", "testdata", "calls.txt")
	if err := os.MkdirAll(filepath.Dir(list), 0o755); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{list: "# What is called.\nec2 RunInstances\nssm PutParameter\n", filepath.Join(recorded, "1.calls"): "ssm PutParameter\niam GetRole\n"} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c := &chores{Config: &config.Config{Root: root}}
	var said bytes.Buffer
	ctx := progress.NewContext(t.Context(), progress.New(&said))
	err := c.checkCalls(ctx, recorded, false)
	if err == nil || !strings.Contains(err.Error(), `lists ["ec2 RunInstances"], which no test calls`) {
		t.Errorf("error %v, want one that names it", err)
	}
	if notes := said.String(); !strings.Contains(notes, `lacks ["iam GetRole"]`) {
		t.Errorf("it says %s", notes)
	}
	if err := c.checkCalls(ctx, recorded, true); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(list); err != nil || string(data) != "# What is called.\niam GetRole\nssm PutParameter\n" {
		t.Errorf("the list is now %q, %v", data, err)
	}
	if err := c.checkCalls(ctx, recorded, false); err != nil {
		t.Error(err)
	}
}
