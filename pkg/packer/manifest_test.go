package packer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseManifest(t *testing.T) {
	const head = `{"builds":[{"artifact_id":"us-west-1:ami-1","packer_run_uuid":"one","custom_data":null},`
	tests := []struct {
		name, data string
		want       Artifact
	}{
		{"last run", head + `{"artifact_id":"us-west-1:ami-2","packer_run_uuid":"two","custom_data":{"release":"v2"}}],"last_run_uuid":"two"}`,
			Artifact{AMIs: map[string]string{"us-west-1": "ami-2"}, Data: map[string]string{"release": "v2"}}},
		{"last run is not last", head + `{"artifact_id":"us-west-1:ami-2","packer_run_uuid":"two"}],"last_run_uuid":"one"}`,
			Artifact{AMIs: map[string]string{"us-west-1": "ami-1"}}},
		{"two regions", `{"builds":[{"artifact_id":"us-west-1:ami-1,eu-west-1:ami-2","packer_run_uuid":"one"}],"last_run_uuid":"one"}`,
			Artifact{AMIs: map[string]string{"us-west-1": "ami-1", "eu-west-1": "ami-2"}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := ParseManifest([]byte(test.data))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestParseManifestErrors(t *testing.T) {
	artifact := func(id string) string {
		return `{"builds":[{"artifact_id":"` + id + `","packer_run_uuid":"one"}],"last_run_uuid":"one"}`
	}
	for data, want := range map[string]string{
		"":                            "read packer manifest: unexpected end of JSON input",
		"[]":                          "read packer manifest: json: cannot unmarshal array",
		`{}`:                          "the last run built nothing",
		`{"last_run_uuid":"two"}`:     "the last run built nothing",
		artifact(""):                  `artifact ID "": want region:ami-…`,
		artifact("ami-1"):             `artifact ID "ami-1": want region:ami-…`,
		artifact(":ami-1"):            `artifact ID ":ami-1": want`,
		artifact("r:snap-1"):          `artifact ID "r:snap-1": want`,
		artifact("r:ami-1,r:ami-2"):   `region "r" twice`,
		artifact("us-west-1:ami-1, "): "want region:ami-…",
	} {
		if _, err := ParseManifest([]byte(data)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseManifest(%s) = %v, want %q", data, err, want)
		}
	}
}

// Whatever a manifest says, an artifact names AMIs.
func FuzzParseManifest(f *testing.F) {
	for _, name := range []string{"success.json", "two-runs.json"} {
		data, err := os.ReadFile(filepath.Join("testdata", "manifest", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		artifact, err := ParseManifest(data)
		if err != nil {
			if len(artifact.AMIs) > 0 {
				t.Errorf("error %v with artifact %+v", err, artifact)
			}
			return
		}
		if len(artifact.AMIs) == 0 {
			t.Error("no AMIs")
		}
		for region, ami := range artifact.AMIs {
			if region == "" || !strings.HasPrefix(ami, "ami-") {
				t.Errorf("AMI %q in region %q", ami, region)
			}
		}
	})
}
