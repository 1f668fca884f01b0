package pipeline

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/provision"
)

// oneImage is an EC2 that knows one public image, and remembers what it is asked.
type oneImage struct{ asked []string }

func (o *oneImage) Do(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	o.asked = append(o.asked, form.Get("Action"))
	const answer = `<DescribeImagesResponse><imagesSet><item><imageId>ami-1</imageId><imageState>available</imageState><architecture>x86_64</architecture></item></imagesSet></DescribeImagesResponse>`
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(answer))}, nil
}

// A digest that is missing is said before anything is made, and before Packer is looked for.
func TestMissingDigestMakesNothing(t *testing.T) {
	root := t.TempDir()
	script := filepath.Join(root, "provision", "base", "codedeploy", "agent.sh")
	if err := errors.Join(os.MkdirAll(filepath.Dir(script), 0o755), os.WriteFile(script, []byte("readonly agent_version=2.1.0-1\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
	ec2 := &oneImage{}
	p := NewFromConfig(aws.Config{Region: "us-west-1", HTTPClient: ec2, Credentials: aws.AnonymousCredentials{}}, Settings{App: "hello", Root: root})
	_, err := p.BakeBase(t.Context())
	e, ok := errors.AsType[*provision.AgentDigestError](err)
	if !ok || e.Package != "codedeploy-agent_2.1.0-1_amd64.deb" || e.URL != "https://aws-codedeploy-us-west-1.s3.us-west-1.amazonaws.com/releases/codedeploy-agent_2.1.0-1_amd64.deb" {
		t.Errorf("error = %v", err)
	}
	if diff := cmp.Diff([]string{"DescribeImages"}, ec2.asked); diff != "" {
		t.Errorf("asked of EC2 (-want +got):\n%s", diff)
	}
}
