package codedeploy

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

const (
	oneAtATime  = "CodeDeployDefault.OneAtATime"
	halfAtATime = "CodeDeployDefault.HalfAtATime"
	allAtOnce   = "CodeDeployDefault.AllAtOnce"
)

// healthyHosts is how many instances stay healthy during a deployment.
type healthyHosts struct {
	Type  string `json:"type"`
	Value int    `json:"value"`
}

// of returns the number for a deployment to n instances.
// See https://docs.aws.amazon.com/codedeploy/latest/userguide/deployment-configurations.html.
func (h healthyHosts) of(n int) int {
	if h.Type == "FLEET_PERCENT" {
		return int(math.Ceil(float64(n*h.Value) / 100))
	}
	return max(0, n-h.Value) // MOST_CONCURRENCY
}

// config is a deployment configuration. There are the predefined ones of the compute platform Server only.
type config struct {
	Name         string
	ID           string // the same on every cloud
	HealthyHosts healthyHosts
}

func configs() []config {
	return []config{
		{allAtOnce, "00000000-0000-4000-8000-000000000003", healthyHosts{"FLEET_PERCENT", 0}},
		{halfAtATime, "00000000-0000-4000-8000-000000000002", healthyHosts{"FLEET_PERCENT", 50}},
		// As AWS answers it: deploy to at most one instance at a time.
		{oneAtATime, "00000000-0000-4000-8000-000000000001", healthyHosts{"MOST_CONCURRENCY", 1}},
	}
}

func findConfig(name string) (config, error) {
	if !validName.MatchString(name) {
		return config{}, wire.Errorf("InvalidDeploymentConfigNameException", "The deployment configuration name was specified in an invalid format.")
	}
	all := configs()
	i := slices.IndexFunc(all, func(c config) bool { return c.Name == name })
	if i < 0 {
		return config{}, wire.Errorf("DeploymentConfigDoesNotExistException", "No Deployment Configuration found for name: %s", name)
	}
	return all[i], nil
}

type configName struct {
	Name string `json:"deploymentConfigName"`
}

type configInfo struct {
	ID                  string       `json:"deploymentConfigId"`
	Name                string       `json:"deploymentConfigName"`
	ComputePlatform     string       `json:"computePlatform"`
	CreateTime          wire.Epoch   `json:"createTime"`
	MinimumHealthyHosts healthyHosts `json:"minimumHealthyHosts"`
}

type getConfigOutput struct {
	Info configInfo `json:"deploymentConfigInfo"`
}

func (s *Service) getDeploymentConfig(_ context.Context, in *configName) (*getConfigOutput, error) {
	if in.Name == "" {
		return nil, wire.Errorf("DeploymentConfigNameRequiredException", "The deployment configuration name was not specified.")
	}
	c, err := findConfig(in.Name)
	if err != nil {
		return nil, err
	}
	// The API's own version is their age.
	created := wire.Epoch{Time: time.Date(2014, 10, 6, 0, 0, 0, 0, time.UTC)}
	return &getConfigOutput{configInfo{c.ID, c.Name, server, created, c.HealthyHosts}}, nil
}

type listConfigsOutput struct {
	Names     []string `json:"deploymentConfigsList"`
	NextToken string   `json:"nextToken,omitempty"`
}

func (s *Service) listDeploymentConfigs(_ context.Context, in *listInput) (*listConfigsOutput, error) {
	var out listConfigsOutput
	for _, c := range configs() {
		out.Names = append(out.Names, c.Name)
	}
	var err error
	out.Names, out.NextToken, err = page(out.Names, in.NextToken)
	return &out, err
}
