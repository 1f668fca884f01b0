package target

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/command"
	"github.com/ingot-build/ingot/pkg/config"
	"github.com/ingot-build/ingot/pkg/progress"
)

func TestTestReport(t *testing.T) {
	var notes []string
	r := &testReport{stage: progress.Start(t.Context(), "tests"), note: func(line string) { notes = append(notes, line) }, output: map[string][]string{}}
	l := &command.Lines{Each: r.event}
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

func TestExplainExpiredCredentials(t *testing.T) {
	expired := &smithy.GenericAPIError{Code: "ExpiredToken", Message: "The security token included in the request is expired"}
	if got := explain(expired); !errors.Is(got, expired) || got.Error() == expired.Error() {
		t.Errorf("explain = %v", got)
	}
	other := errors.New("other")
	if got := explain(other); got != other {
		t.Errorf("explain = %v", got)
	}
}

func TestEgressOnThisMachine(t *testing.T) {
	for _, endpoint := range []string{"http://127.1.2.3:4566", "http://localhost:4566", "http://[::1]:4566"} {
		if got, err := egress(t.Context(), endpoint); err != nil || got != "127.0.0.0/8" {
			t.Errorf("egress(%q) = %s, %v", endpoint, got, err)
		}
	}
	for _, endpoint := range []string{"", "https://ec2.us-west-1.amazonaws.com", "http://10.0.0.1"} {
		if loopback(endpoint) {
			t.Errorf("loopback(%q)", endpoint)
		}
	}
}

func TestFilesFindsScriptsWithoutAnExtension(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"a.go": "package a", "b.sh": "true", "bin/check": "#!/usr/bin/env bash\ntrue", "bin/data": "x", "bin/tool": "#!/usr/bin/env python3",
		".git/hook.sh": "true", ".ingot/x.sh": "true",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p := &project{Config: &config.Config{Root: root}}
	got, err := p.files(".sh")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"b.sh", filepath.Join("bin", "check")}, got); diff != "" {
		t.Error(diff)
	}
}

func TestFirstWords(t *testing.T) {
	got := firstWords([]string{"vet", "-tags=integration,mage", "./...", "a.go", "-x"})
	if diff := cmp.Diff([]string{"vet", "./...", "-x"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestRunNeedsSettings(t *testing.T) {
	t.Chdir(t.TempDir())
	err := run(t.Context(), func(context.Context, *project) error { t.Error("ran without settings"); return nil })
	if !errors.Is(err, config.ErrNotFound) {
		t.Errorf("error = %v", err)
	}
}
