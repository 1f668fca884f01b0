package codedeploy

import (
	"math"
	"slices"

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
	HealthyHosts healthyHosts
}

func configs() []config {
	return []config{
		{allAtOnce, healthyHosts{"FLEET_PERCENT", 0}},
		{halfAtATime, healthyHosts{"FLEET_PERCENT", 50}},
		// As AWS answers it: deploy to at most one instance at a time.
		{oneAtATime, healthyHosts{"MOST_CONCURRENCY", 1}},
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
