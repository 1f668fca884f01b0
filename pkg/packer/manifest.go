package packer

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Artifact is what a build made.
type Artifact struct {
	AMIs map[string]string // AMI IDs by region
	Data map[string]string // the manifest's custom data
}

// ParseManifest reads what the manifest post-processor wrote and returns the artifact of the last run.
func ParseManifest(data []byte) (Artifact, error) {
	var manifest struct {
		Builds []struct {
			ArtifactID string            `json:"artifact_id"`
			Run        string            `json:"packer_run_uuid"`
			Data       map[string]string `json:"custom_data"`
		} `json:"builds"`
		LastRun string `json:"last_run_uuid"`
	}
	if err := json.Unmarshal(data, &manifest); err != nil {
		return Artifact{}, fmt.Errorf("read packer manifest: %w", err)
	}
	for _, build := range manifest.Builds {
		if build.Run != manifest.LastRun {
			continue
		}
		amis, err := parseArtifactID(build.ArtifactID)
		if err != nil {
			return Artifact{}, fmt.Errorf("read packer manifest: %w", err)
		}
		return Artifact{AMIs: amis, Data: build.Data}, nil
	}
	return Artifact{}, errors.New("read packer manifest: the last run built nothing")
}

// parseArtifactID reads "us-west-1:ami-0abc,us-east-1:ami-0def".
func parseArtifactID(id string) (map[string]string, error) {
	amis := map[string]string{}
	for pair := range strings.SplitSeq(id, ",") {
		region, ami, ok := strings.Cut(pair, ":")
		if !ok || region == "" || !strings.HasPrefix(ami, "ami-") {
			return nil, fmt.Errorf("artifact ID %q: want region:ami-…", id)
		}
		if _, twice := amis[region]; twice {
			return nil, fmt.Errorf("artifact ID %q: region %q twice", id, region)
		}
		amis[region] = ami
	}
	return amis, nil
}
