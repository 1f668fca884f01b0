package ami

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/ingot-build/ingot/pkg/tag"
)

// KeyError is an instance that ended before it ran, because the key that encrypts its volume may not be used by whoever
// launches it, or is disabled.
type KeyError struct {
	Instance string
	Code     string // EC2's: Client.InternalError, or one that begins with Client.InvalidKMSKey
}

// Error names the instance and EC2's reason.
func (e *KeyError) Error() string {
	return fmt.Sprintf("instance %s ended at its launch (%s): the KMS key that encrypts its volume cannot be used", e.Instance, e.Code)
}

// IsKeyReason tells whether a reason for the end of an instance, as EC2 and EC2 Auto Scaling word it, is about the key of
// its volume. Client.InternalError says "client error on launch" and is about nothing else that is documented:
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/troubleshooting-launch.html.
func IsKeyReason(reason string) bool {
	return strings.Contains(reason, "Client.InternalError") || strings.Contains(reason, "Client.InvalidKMSKey")
}

// LaunchProblem returns a *KeyError where an instance of a run ended for that reason, and nil where none did or EC2 does
// not say.
func (c *Client) LaunchProblem(ctx context.Context, app, run string) error {
	pages := ec2.NewDescribeInstancesPaginator(c.api, &ec2.DescribeInstancesInput{Filters: ofRuns(app)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil //nolint:nilerr // the bake has failed already, and this would only have said why
		}
		for _, r := range page.Reservations {
			for _, i := range r.Instances {
				if tagMap(i.Tags)[tag.Run] == run && i.StateReason != nil && IsKeyReason(aws.ToString(i.StateReason.Code)) {
					return &KeyError{Instance: aws.ToString(i.InstanceId), Code: aws.ToString(i.StateReason.Code)}
				}
			}
		}
	}
	return nil
}
