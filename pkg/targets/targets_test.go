package targets

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/config"
	"github.com/ingot-build/ingot/pkg/pipeline"
	"github.com/ingot-build/ingot/pkg/rollout"
)

func TestAdviseExpiredCredentials(t *testing.T) {
	expired := &smithy.GenericAPIError{Code: "ExpiredToken", Message: "The security token included in the request is expired"}
	if got := advise(expired); !errors.Is(got, expired) || got.Error() == expired.Error() {
		t.Errorf("advise = %v", got)
	}
	other := errors.New("other")
	if got := advise(other); got != other {
		t.Errorf("advise = %v", got)
	}
}

func TestRunNeedsSettings(t *testing.T) {
	t.Chdir(t.TempDir())
	err := run(t.Context(), func(context.Context, *project) error { t.Error("ran without settings"); return nil })
	if !errors.Is(err, config.ErrNotFound) {
		t.Errorf("error = %v", err)
	}
}

// maxBody is how many lines the body of a target may have: it says what it does and calls who does it.
const maxBody = 10

func TestTargetsAreThin(t *testing.T) {
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, data, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || !f.Name.IsExported() || f.Name.Name == "Run" {
				continue
			}
			seen++
			body := string(data[f.Body.Lbrace-file.FileStart+1 : f.Body.Rbrace-file.FileStart])
			if n := len(strings.Split(strings.TrimSpace(body), "\n")); n > maxBody {
				t.Errorf("%s: the body of %s has %d lines, want at most %d", name, f.Name, n, maxBody)
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d targets were found", seen)
	}
}

// TestDefaults: what nobody sets is the same for who reads ingot.hcl and for who calls the library.
func TestDefaults(t *testing.T) {
	p := &project{Config: config.Default()}
	p.App = "hello"
	got := p.rolloutOptions()
	want := rollout.Options{
		By: got.By, Min: rollout.DefaultMin, MinHealthy: new(rollout.DefaultMinHealthy), MaxHealthy: rollout.DefaultMaxHealthy,
		Warmup: new(rollout.DefaultWarmup), CheckpointDelay: new(rollout.DefaultCheckpointDelay), Standby: "ignore", Protected: "refresh",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rollout options (-library +settings):\n%s", diff)
	}
	settings := pipeline.NewFromConfig(aws.Config{}, pipeline.Settings{App: "hello"}).Settings()
	if diff := cmp.Diff(p.baseImage(), settings.Image); diff != "" {
		t.Errorf("image (-settings +library):\n%s", diff)
	}
	if diff := cmp.Diff(p.service(), settings.Service); diff != "" {
		t.Errorf("service (-settings +library):\n%s", diff)
	}
	for architecture, want := range map[string]string{"x86_64": "t3.medium", "arm64": "t4g.medium"} {
		s := pipeline.NewFromConfig(aws.Config{}, pipeline.Settings{App: "hello", Image: pipeline.BaseImage{Architecture: architecture}}).Settings()
		if s.Bake.InstanceType != want {
			t.Errorf("%s images are baked on %q, want %q", architecture, s.Bake.InstanceType, want)
		}
	}
}
