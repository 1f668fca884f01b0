package terraform

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFindMirror(t *testing.T) {
	const (
		registry = `{"modules.v1": "/v1/modules/", "providers.v1": "/v1/providers/"}`
		unpacked = "registry.terraform.io/hashicorp/aws/5.100.0/linux_amd64/terraform-provider-aws_v5.100.0_x5"
		packed   = "registry.terraform.io/hashicorp/aws/terraform-provider-aws_5.101.0_linux_amd64.zip"
	)
	for _, test := range []struct {
		name    string
		answer  string // of the registry; none when empty
		files   []string
		setting string
		want    string
		wantErr string // a part
	}{
		{name: "registry answers", answer: registry, files: []string{"opt/mirror/" + unpacked}, want: ""},
		{name: "setting", answer: registry, files: []string{"mine/" + packed}, setting: "mine", want: "mine"},
		{name: "setting without the provider", answer: registry, setting: "mine", wantErr: `mine" holds no registry.terraform.io/hashicorp/aws ~> 5.100 for linux_amd64`},
		{name: "unpacked at a root", files: []string{"opt/" + unpacked}, want: "opt"},
		{name: "unpacked below", files: []string{"opt/a/b/" + unpacked}, want: "opt/a/b"},
		{name: "too far below", files: []string{"opt/a/b/c/" + unpacked}, wantErr: "no provider mirror"},
		{name: "packed in the cache", files: []string{"cache/" + packed, "opt/" + unpacked}, want: "cache"},
		{name: "captive portal", answer: "<html>Please log in</html>", files: []string{"opt/" + unpacked}, want: "opt"},
		{name: "another version", files: []string{"opt/" + strings.ReplaceAll(unpacked, "5.100.0", "6.0.0"), "opt/" + strings.ReplaceAll(packed, "5.101.0", "5.99.0")}, wantErr: "no provider mirror"},
		{name: "another platform", files: []string{"opt/" + strings.ReplaceAll(unpacked, "amd64", "arm64")}, wantErr: "no provider mirror"},
		{name: "another provider", files: []string{"opt/" + strings.ReplaceAll(unpacked, "aws", "google")}, wantErr: "make one with `terraform providers mirror DIR`"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, file := range test.files {
				writeFile(t, filepath.Join(dir, file), "")
			}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write([]byte(test.answer))
			}))
			if test.answer == "" {
				server.Close()
			} else {
				t.Cleanup(server.Close)
			}
			m := mirrors{
				discovery: server.URL, timeout: time.Minute, platform: "linux_amd64",
				dirs:  []string{filepath.Join(dir, "cache")},
				roots: []string{filepath.Join(dir, "opt"), filepath.Join(dir, "missing")},
			}
			setting := test.setting
			if setting != "" {
				setting = filepath.Join(dir, setting)
			}
			got, err := m.find(t.Context(), setting)
			if _, ok := errors.AsType[*MirrorError](err); err != nil && ok != (setting != "") || err != nil && !ok && !errors.Is(err, ErrNoMirror) {
				t.Errorf("error %#v", err)
			}
			if (test.wantErr == "") != (err == nil) || !strings.Contains(message(err), test.wantErr) {
				t.Errorf("error = %v\nwant    …%s…", err, test.wantErr)
			}
			if got = strings.TrimPrefix(strings.TrimPrefix(got, dir), "/"); got != test.want {
				t.Errorf("find = %q, want %q", got, test.want)
			}
		})
	}
}

func TestImpliedMirrors(t *testing.T) {
	env := map[string]string{"HOME": "/home/me", "TF_PLUGIN_CACHE_DIR": "/cache", "XDG_DATA_DIRS": "/a:/b"}
	want := []string{
		"/cache",
		"/home/me/.terraform.d/plugins",
		"/home/me/.local/share/terraform/plugins",
		"/a/terraform/plugins",
		"/b/terraform/plugins",
		"/home/me/Library/Application Support/io.terraform/plugins",
		"/Library/Application Support/io.terraform/plugins",
	}
	if diff := cmp.Diff(want, impliedMirrors(func(key string) string { return env[key] })); diff != "" {
		t.Error(diff)
	}
}

// What is looked for here is what the stack asks for there.
func TestVersionsAreTheStacks(t *testing.T) {
	data, err := os.ReadFile("../../terraform/versions.tf")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`required_version = ">= ` + strings.TrimSuffix(MinVersion, ".0") + `"`,
		`version = "` + awsConstraint + `"`,
	} {
		if !strings.Contains(string(data), line) {
			t.Errorf("terraform/versions.tf does not say %s", line)
		}
	}
}
