// Package sts says who the caller is, and lets roles be taken on. There are no session policies and no session tags.
package sts

import (
	"context"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/iam"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

type roles interface {
	AssumeRole(caller *wire.Caller, a iam.Assumption) (iam.Credentials, error)
	AssumeRoleWithWebIdentity(token string, a iam.Assumption) (c iam.Credentials, said iam.Token, providerARN string, err error)
}

// Options are the settings of a [Service].
type Options struct {
	// Account is the ID of the account, 12 digits.
	Account string
	// UserARN and UserID are those of the one user, the administrator.
	UserARN, UserID string
	// Roles are what can be taken on.
	Roles roles
}

// Service is the AWS Security Token Service.
type Service struct {
	options Options
}

// New returns the service.
func New(options Options) (*Service, error) {
	return &Service{options: options}, nil
}

// API returns the operations for wire. Who may take a role on, the role's trust policy says, and not only the caller's own policies:
// so the operations see to that themselves.
func (s *Service) API() wire.Service {
	return wire.Service{
		Name:      "sts",
		Protocol:  wire.AWSQuery,
		Version:   "2011-06-15",
		Namespace: "https://sts.amazonaws.com/doc/2011-06-15/",
		Global:    true,
		Actions: map[string]wire.Action{
			"AssumeRole":                wire.Do(s.assumeRole, func(*assumeRoleInput) []wire.Access { return nil }),
			"AssumeRoleWithWebIdentity": wire.Do(s.assumeRoleWithWebIdentity, func(*webIdentityInput) []wire.Access { return nil }),
			"GetCallerIdentity":         wire.Do(s.getCallerIdentity, func(*wire.Empty) []wire.Access { return nil }), // AWS answers it to everyone
		},
		Unsigned: []string{"AssumeRoleWithWebIdentity"},
	}
}

type callerIdentity struct {
	Account string
	ARN     string `xml:"Arn"`
	UserID  string `xml:"UserId"`
}

func (s *Service) getCallerIdentity(ctx context.Context, _ *wire.Empty) (*callerIdentity, error) {
	who := &callerIdentity{Account: s.options.Account, ARN: s.options.UserARN, UserID: s.options.UserID}
	if caller, ok := wire.CallerOf(ctx); ok {
		who.ARN, who.UserID = caller.ARN, caller.ID
	}
	return who, nil
}

type credentials struct {
	AccessKeyID     string `xml:"AccessKeyId"`
	SecretAccessKey string
	SessionToken    string
	Expiration      time.Time
}

type assumedRoleUser struct {
	ID  string `xml:"AssumedRoleId"`
	ARN string `xml:"Arn"`
}

type assumeRoleOutput struct {
	Credentials     credentials
	AssumedRoleUser assumedRoleUser
}

func output(c iam.Credentials) assumeRoleOutput {
	return assumeRoleOutput{
		Credentials:     credentials{c.AccessKeyID, c.SecretAccessKey, c.Token, c.Expires},
		AssumedRoleUser: assumedRoleUser{c.ID, c.ARN},
	}
}

type assumeRoleInput struct {
	RoleARN         string `query:"RoleArn" wire:"required"`
	RoleSessionName string `query:"RoleSessionName" wire:"required"`
	DurationSeconds *int   `query:"DurationSeconds"`
	ExternalID      string `query:"ExternalId"`
}

func (s *Service) assumeRole(ctx context.Context, in *assumeRoleInput) (*assumeRoleOutput, error) {
	var from *wire.Caller
	if caller, ok := wire.CallerOf(ctx); ok {
		from = &caller
	}
	c, err := s.options.Roles.AssumeRole(from, iam.Assumption{
		RoleARN: in.RoleARN, SessionName: in.RoleSessionName, Seconds: in.DurationSeconds, ExternalID: in.ExternalID,
	})
	if err != nil {
		return nil, err
	}
	return new(output(c)), nil
}

type webIdentityInput struct {
	RoleARN          string `query:"RoleArn" wire:"required"`
	RoleSessionName  string `query:"RoleSessionName" wire:"required"`
	WebIdentityToken string `query:"WebIdentityToken" wire:"required"`
	DurationSeconds  *int   `query:"DurationSeconds"`
}

type webIdentityOutput struct {
	assumeRoleOutput
	Subject  string `xml:"SubjectFromWebIdentityToken"`
	Audience string
	Provider string
}

func (s *Service) assumeRoleWithWebIdentity(_ context.Context, in *webIdentityInput) (*webIdentityOutput, error) {
	c, token, provider, err := s.options.Roles.AssumeRoleWithWebIdentity(in.WebIdentityToken, iam.Assumption{
		RoleARN: in.RoleARN, SessionName: in.RoleSessionName, Seconds: in.DurationSeconds,
	})
	if err != nil {
		return nil, err
	}
	return &webIdentityOutput{assumeRoleOutput: output(c), Subject: token.Subject, Audience: token.Audience, Provider: provider}, nil
}
