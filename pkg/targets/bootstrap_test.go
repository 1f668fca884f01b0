package targets

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/aws/smithy-go/logging"
	"github.com/ingot-build/ingot/pkg/config"
)

func TestForgetful(t *testing.T) {
	for name, test := range map[string]struct {
		ci, endpoint, bucket, profile string
		want                          bool
	}{
		"a person":                   {},
		"a person with a bucket":     {bucket: "states"},
		"CI":                         {ci: "true", want: true},
		"CI with a bucket":           {ci: "true", bucket: "states"},
		"CI and a cloud beside it":   {ci: "true", endpoint: "http://127.165.1.1:4566"},
		"CI and a cloud far from it": {ci: "true", endpoint: "https://ec2.example.com", want: true},
		"CI and a profile's cloud":   {ci: "true", profile: "[default]\nendpoint_url = http://127.165.1.1:4566\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("CI", test.ci)
			t.Setenv("AWS_ENDPOINT_URL", test.endpoint)
			profiles := filepath.Join(t.TempDir(), "config")
			if err := os.WriteFile(profiles, []byte(test.profile), 0o600); err != nil {
				t.Fatal(err)
			}
			t.Setenv("AWS_CONFIG_FILE", profiles)
			settings := config.Default()
			settings.State.Bucket = test.bucket
			p := &project{Config: settings}
			cfg, err := p.awsConfig(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if cfg.Logger != (logging.Nop{}) {
				t.Errorf("the SDK writes its own warnings with a %T", cfg.Logger)
			}
			if got := p.forgetful(cfg); got != test.want {
				t.Errorf("forgetful = %v", got)
			}
			if err := p.checkNotForgetful(t.Context()); (err != nil) != test.want {
				t.Errorf("error = %v", err)
			}
		})
	}
}
