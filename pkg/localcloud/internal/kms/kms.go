// Package kms has the one key of an account that encrypts its volumes with a key of its own, and the grants on it. Nothing is encrypted.
package kms

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/service"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/store"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// Options are the settings of a [Service].
type Options struct {
	// Account is the ID of the account, 12 digits.
	Account string
	// Region is the AWS region that the cloud is.
	Region string
	// CustomerKey says whether there is a key at all.
	CustomerKey bool
	// Store keeps the state.
	Store store.Store
}

// Service is AWS Key Management Service.
type Service struct {
	options Options
	state   *store.Document[state]
}

type state struct {
	Grants []grant
}

// grant lets a principal use the key.
type grant struct {
	ID         string
	Name       string
	Principal  string
	Operations []string
}

// New returns the service with the state that the store has.
func New(options Options) (*Service, error) {
	document, err := store.Open(options.Store, "kms", state{})
	if err != nil {
		return nil, err
	}
	return &Service{options, document}, nil
}

// API returns the operations for wire.
func (s *Service) API() wire.Service {
	return wire.Service{
		Name: "kms", Protocol: wire.JSON, Version: "2014-11-01", Target: "TrentService",
		Actions: map[string]wire.Action{"CreateGrant": wire.Do(s.createGrant, s.granting)},
	}
}

// keyID returns the key's ID, which follows from the account.
func (s *Service) keyID() string {
	sum := sha256.Sum256([]byte("key of " + s.options.Account))
	h := hex.EncodeToString(sum[:])
	return strings.Join([]string{h[:8], h[8:12], "4" + h[13:16], "a" + h[17:20], h[20:32]}, "-") // as a UUID looks
}

// KeyARN returns the ARN of the customer's key, "" where there is none.
func (s *Service) KeyARN() string {
	if !s.options.CustomerKey {
		return ""
	}
	return s.keyARN(s.keyID())
}

// launchOperations are what it takes to launch an instance with an encrypted volume: EC2 makes a grant of its own for the instance.
// See https://docs.aws.amazon.com/autoscaling/ec2/userguide/key-policy-requirements-EBS-encryption.html.
func launchOperations() []string {
	return []string{"CreateGrant", "Decrypt", "DescribeKey", "GenerateDataKeyWithoutPlaintext", "ReEncryptFrom", "ReEncryptTo"}
}

// AutoScalingMayUse tells whether the service-linked role of EC2 Auto Scaling has a grant to launch instances with a key.
func (s *Service) AutoScalingMayUse(key string) bool {
	role := fmt.Sprintf("arn:aws:iam::%s:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling", s.options.Account)
	allowed := false
	_ = s.state.View(func(st state) error {
		allowed = key == s.KeyARN() && slices.ContainsFunc(st.Grants, func(g grant) bool {
			return g.Principal == role && !slices.ContainsFunc(launchOperations(), func(o string) bool { return !slices.Contains(g.Operations, o) })
		})
		return nil
	})
	return allowed
}

// keyARN returns the ARN of a key that is given by its ARN or its ID.
func (s *Service) keyARN(id string) string {
	if strings.HasPrefix(id, "arn:") {
		return id
	}
	return fmt.Sprintf("arn:aws:kms:%s:%s:key/%s", s.options.Region, s.options.Account, id)
}

// granting returns what CreateGrant needs. The key's own policy lets the account's policies decide, as KMS's default one does.
// See https://docs.aws.amazon.com/service-authorization/latest/reference/list_awskeymanagementservice.html.
func (s *Service) granting(in *createGrantInput) []wire.Access {
	return []wire.Access{{Resource: s.keyARN(in.KeyID), Keys: map[string][]string{
		"kms:CallerAccount": {s.options.Account}, "kms:GranteePrincipal": {in.GranteePrincipal}, "kms:GrantOperations": in.Operations,
	}}}
}

type createGrantInput struct {
	KeyID            string   `json:"KeyId" wire:"required"`
	GranteePrincipal string   `wire:"required"`
	Operations       []string `wire:"required,enum=CreateGrant|Decrypt|DescribeKey|Encrypt|GenerateDataKey|GenerateDataKeyWithoutPlaintext|ReEncryptFrom|ReEncryptTo|RetireGrant"`
	Name             string
}

type createGrantOutput struct {
	GrantID    string `json:"GrantId"`
	GrantToken string
}

func (s *Service) createGrant(_ context.Context, in *createGrantInput) (*createGrantOutput, error) {
	arn := s.KeyARN()
	if arn == "" || in.KeyID != arn && in.KeyID != s.keyID() {
		return nil, wire.Errorf("NotFoundException", "Key '%s' does not exist", in.KeyID)
	}
	made := grant{ID: service.HexID(64), Name: in.Name, Principal: in.GranteePrincipal, Operations: in.Operations}
	err := s.state.Update(func(st *state) error {
		// The same request again is the same grant.
		for _, g := range st.Grants {
			if in.Name != "" && g.Name == in.Name && g.Principal == in.GranteePrincipal && slices.Equal(g.Operations, in.Operations) {
				made = g
				return nil
			}
		}
		st.Grants = append(st.Grants, made)
		return nil
	})
	return &createGrantOutput{made.ID, made.ID}, err
}
