package target

import (
	"testing"

	"github.com/ingot-build/ingot/pkg/config"
)

func TestForgetful(t *testing.T) {
	for name, test := range map[string]struct {
		ci, endpoint, bucket string
		want                 bool
	}{
		"a person":                   {},
		"a person with a bucket":     {bucket: "states"},
		"CI":                         {ci: "true", want: true},
		"CI with a bucket":           {ci: "true", bucket: "states"},
		"CI and a cloud beside it":   {ci: "true", endpoint: "http://127.165.1.1:4566"},
		"CI and a cloud far from it": {ci: "true", endpoint: "https://ec2.example.com", want: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("CI", test.ci)
			t.Setenv("AWS_ENDPOINT_URL", test.endpoint)
			settings := config.Default()
			settings.State.Bucket = test.bucket
			if got := (&project{Config: settings}).forgetful(); got != test.want {
				t.Errorf("forgetful = %v", got)
			}
		})
	}
}
