//go:build integration

package terraform

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// Terraform's provider has the credentials that were resolved here, of a kind that it could not find by itself, and new ones
// when those end.
func TestCredentialsThatEnd(t *testing.T) {
	var (
		mu    sync.Mutex
		given int
		seen  = map[string]bool{}
	)
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if key := regexp.MustCompile(`Credential=(\w+)/`).FindStringSubmatch(r.Header.Get("Authorization")); key != nil {
			seen[key[1]] = true
		}
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>")
	}))
	defer endpoint.Close()
	s := realStack(t)
	s.Env = []string{"AWS_MAX_ATTEMPTS=1"}
	s.AWS = &aws.Config{Region: "us-west-1", BaseEndpoint: &endpoint.URL, Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		mu.Lock()
		defer mu.Unlock()
		given++
		return aws.Credentials{AccessKeyID: fmt.Sprintf("ASIA%d", given), SecretAccessKey: "s", SessionToken: "t", CanExpire: true, Expires: time.Now().Add(time.Second)}, nil
	})}
	_, err := s.Plan(t.Context())
	t.Logf("%d credentials given, calls signed with %v: %v", given, seen, err)
	if len(seen) == 0 || seen["ASIA1"] || err == nil { // the first are those that told that they end
		t.Errorf("calls were signed with %v", seen)
	}
}
