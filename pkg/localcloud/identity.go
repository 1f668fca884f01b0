package localcloud

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/ec2"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// maxTokenLifetime is how long the token of an identity provider lasts at most.
const maxTokenLifetime = time.Hour

// IdentityToken is what the token of an identity provider is to say, with which a workflow takes a role on.
type IdentityToken struct {
	// Issuer is the URL of the provider, such as "https://token.actions.githubusercontent.com".
	Issuer string
	// Subject is who the token is for, such as "repo:ORG/REPO:environment:production".
	Subject string
	// Audience is whom it is to be shown to, such as "sts.amazonaws.com".
	Audience string
	// Lifetime is how long it is good for, up to an hour; zero means five minutes.
	Lifetime time.Duration
}

// IssueToken has the folder's running cloud issue a token in the place of an identity provider, for AssumeRoleWithWebIdentity: a cloud
// on this machine reaches no provider, and takes no tokens but its own. It fails with ErrNotRunning.
func IssueToken(ctx context.Context, stateDir string, token IdentityToken) (string, error) {
	var out issuedToken
	err := askRunning(ctx, stateDir, "issue a token", "IssueToken", token, &out)
	return out.Token, err
}

type issuedToken struct{ Token string }

func (c *cloud) issueToken(_ context.Context, in *IdentityToken) (*issuedToken, error) {
	lasts := in.Lifetime
	if lasts == 0 {
		lasts = 5 * time.Minute
	}
	switch {
	case !strings.HasPrefix(in.Issuer, "https://") || in.Subject == "" || in.Audience == "":
		return nil, wire.Errorf("ValidationException", "issue a token: it needs an issuer that begins with https://, a subject and an audience")
	case lasts < 0 || lasts > maxTokenLifetime:
		return nil, wire.Errorf("ValidationException", "issue a token: it can last up to %s", maxTokenLifetime)
	}
	token, err := c.identities.IssueToken(in.Issuer, in.Subject, in.Audience, lasts)
	return &issuedToken{token}, err
}

// instanceCredentials returns the credentials that an instance's metadata shows.
func (c *cloud) instanceCredentials(_ context.Context, profileARN, instanceID string) (role string, shown ec2.Credentials, err error) {
	found, err := c.identities.InstanceCredentials(profileARN, instanceID)
	if refused, ok := errors.AsType[*wire.Error](err); ok && (refused.Code == "NoSuchEntity" || refused.Code == "AccessDenied") {
		return "", ec2.Credentials{}, ec2.ErrNoRole
	}
	return found.Role, ec2.Credentials{
		AccessKeyID: found.AccessKeyID, SecretAccessKey: found.SecretAccessKey, SessionToken: found.Token,
		Began: found.Began, Expires: found.Expires,
	}, err
}
