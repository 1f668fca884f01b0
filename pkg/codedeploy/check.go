package codedeploy

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// CheckHook says what is wrong with the launching hook that keeps new instances from serving unchecked, and changes nothing; Guard
// sets it right. Before a deployment has succeeded there can be none, and that is what it says then. Where there is no deployment
// group, the error wraps ErrNotSetUp.
func (c *Client) CheckHook(ctx context.Context) (wrong []string, err error) {
	info, err := c.deploymentGroup(ctx)
	switch {
	case err != nil:
		return nil, err
	case info.LastSuccessfulDeployment == nil:
		return []string{fmt.Sprintf("no deployment of %q has succeeded yet", c.app)}, nil
	case len(info.AutoScalingGroups) == 0:
		return []string{fmt.Sprintf("deployment group %q has no Auto Scaling group", c.app)}, nil
	}
	for _, group := range info.AutoScalingGroups {
		one := info
		one.AutoScalingGroups = append(one.AutoScalingGroups[:0:0], group)
		problem, err := c.hookProblem(ctx, one, aws.ToString(group.Name))
		if err != nil {
			return nil, err
		}
		if problem != "" {
			wrong = append(wrong, problem)
		}
	}
	return wrong, nil
}
