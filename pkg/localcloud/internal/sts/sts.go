// Package sts says who the caller is.
package sts

import (
	"context"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// Options are the settings of a [Service].
type Options struct {
	// Account is the ID of the account, 12 digits.
	Account string
	// UserARN and UserID are those of the one user.
	UserARN, UserID string
}

// Service is the AWS Security Token Service.
type Service struct {
	options Options
}

// New returns the service.
func New(options Options) (*Service, error) {
	return &Service{options: options}, nil
}

// API returns the operations for wire.
func (s *Service) API() wire.Service {
	return wire.Service{
		Name:      "sts",
		Protocol:  wire.AWSQuery,
		Version:   "2011-06-15",
		Namespace: "https://sts.amazonaws.com/doc/2011-06-15/",
		Global:    true,
		Actions: map[string]wire.Action{
			"GetCallerIdentity": wire.Do(s.getCallerIdentity),
		},
	}
}

type callerIdentity struct {
	Account string
	ARN     string `xml:"Arn"`
	UserID  string `xml:"UserId"`
}

func (s *Service) getCallerIdentity(context.Context, *wire.Empty) (*callerIdentity, error) {
	return &callerIdentity{Account: s.options.Account, ARN: s.options.UserARN, UserID: s.options.UserID}, nil
}
