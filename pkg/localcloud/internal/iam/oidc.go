package iam

import (
	"context"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

const (
	// maxClientIDs and maxThumbprints are how many of each a provider may have.
	maxClientIDs   = 100
	maxThumbprints = 5
)

// oidcProvider is somebody else's service whose tokens roles may trust. Nobody signs in with one here: STS has no
// AssumeRoleWithWebIdentity.
type oidcProvider struct {
	URL         string // without the scheme
	ClientIDs   []string
	Thumbprints []string
	Created     time.Time
	Tags        map[string]string
}

func (st state) oidcProvider(arn string) (oidcProvider, error) {
	p, ok := st.OIDCProviders[arn]
	if !ok {
		return oidcProvider{}, noSuchEntity("OpenIDConnect Provider not found for arn %s", arn)
	}
	return p, nil
}

func (s *Service) updateOIDCProvider(arn string, change func(*oidcProvider) error) error {
	return s.state.Update(func(st *state) error {
		p, err := st.oidcProvider(arn)
		if err != nil {
			return err
		}
		if err := change(&p); err != nil {
			return err
		}
		st.OIDCProviders[arn] = p
		return nil
	})
}

// checkProviderURL checks a provider's URL and returns it without its scheme.
func checkProviderURL(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || len(text) > 255 || u.Scheme != "https" || u.Host == "" || u.Port() != "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", invalid("Invalid Open ID Connect Provider URL")
	}
	return strings.TrimPrefix(text, "https://"), nil
}

func checkThumbprints(thumbprints []string) error {
	if len(thumbprints) > maxThumbprints {
		return invalid("Thumbprint list must contain at most 5 entries.")
	}
	for _, t := range thumbprints {
		if !regexp.MustCompile(`^[0-9A-Fa-f]{40}$`).MatchString(t) {
			return invalid("Thumbprint must be 40 hexadecimal characters.")
		}
	}
	return nil
}

func checkClientIDs(ids []string) error {
	if len(ids) > maxClientIDs {
		return invalid("A provider has at most %d client IDs.", maxClientIDs)
	}
	for _, id := range ids {
		if id == "" || len(id) > 255 {
			return invalid("A client ID has 1 to 255 characters.")
		}
	}
	return nil
}

type createOIDCProviderInput struct {
	URL            string   `query:"Url" wire:"required"`
	ClientIDList   []string `query:"ClientIDList"`
	ThumbprintList []string `query:"ThumbprintList"`
	Tags           []tag    `query:"Tags"`
}

type createOIDCProviderOutput struct {
	ARN  string `xml:"OpenIDConnectProviderArn"`
	Tags *tagList
}

func (s *Service) createOIDCProvider(_ context.Context, in *createOIDCProviderInput) (*createOIDCProviderOutput, error) {
	name, err := checkProviderURL(in.URL)
	if err != nil {
		return nil, err
	}
	if err := checkThumbprints(in.ThumbprintList); err != nil {
		return nil, err
	}
	if err := checkClientIDs(in.ClientIDList); err != nil {
		return nil, err
	}
	tags, err := setTags(nil, in.Tags)
	if err != nil {
		return nil, err
	}
	arn := s.arn("oidc-provider", "/", name)
	return &createOIDCProviderOutput{ARN: arn, Tags: newTagList(tags)}, s.state.Update(func(st *state) error {
		if _, ok := st.OIDCProviders[arn]; ok {
			return alreadyExists("Provider with url %s already exists.", in.URL)
		}
		st.OIDCProviders[arn] = oidcProvider{
			URL: name, ClientIDs: in.ClientIDList, Thumbprints: in.ThumbprintList, Created: now(), Tags: tags,
		}
		return nil
	})
}

type oidcProviderInput struct {
	ARN string `query:"OpenIDConnectProviderArn" wire:"required"`
}

type getOIDCProviderOutput struct {
	URL            string   `xml:"Url"`
	ClientIDList   []string `xml:"ClientIDList>member"`
	ThumbprintList []string `xml:"ThumbprintList>member"`
	CreateDate     time.Time
	Tags           *tagList
}

func (s *Service) getOIDCProvider(_ context.Context, in *oidcProviderInput) (*getOIDCProviderOutput, error) {
	out := &getOIDCProviderOutput{}
	return out, s.state.View(func(st state) error {
		p, err := st.oidcProvider(in.ARN)
		*out = getOIDCProviderOutput{
			URL: p.URL, ClientIDList: p.ClientIDs, ThumbprintList: p.Thumbprints, CreateDate: p.Created, Tags: newTagList(p.Tags),
		}
		return err
	})
}

type listOIDCProvidersOutput struct {
	Providers []oidcProviderEntry `xml:"OpenIDConnectProviderList>member"`
}

type oidcProviderEntry struct {
	ARN string `xml:"Arn"`
}

func (s *Service) listOIDCProviders(context.Context, *wire.Empty) (*listOIDCProvidersOutput, error) {
	out := &listOIDCProvidersOutput{}
	return out, s.state.View(func(st state) error {
		for _, arn := range slices.Sorted(maps.Keys(st.OIDCProviders)) {
			out.Providers = append(out.Providers, oidcProviderEntry{arn})
		}
		return nil
	})
}

// deleteOIDCProvider succeeds where there is none, as on AWS.
func (s *Service) deleteOIDCProvider(_ context.Context, in *oidcProviderInput) (*wire.Empty, error) {
	return nil, s.state.Update(func(st *state) error {
		delete(st.OIDCProviders, in.ARN)
		return nil
	})
}

type clientIDInput struct {
	ARN      string `query:"OpenIDConnectProviderArn" wire:"required"`
	ClientID string `query:"ClientID" wire:"required"`
}

func (s *Service) addClientID(_ context.Context, in *clientIDInput) (*wire.Empty, error) {
	return nil, s.updateOIDCProvider(in.ARN, func(p *oidcProvider) error {
		if !slices.Contains(p.ClientIDs, in.ClientID) {
			p.ClientIDs = append(p.ClientIDs, in.ClientID)
		}
		return checkClientIDs(p.ClientIDs)
	})
}

func (s *Service) removeClientID(_ context.Context, in *clientIDInput) (*wire.Empty, error) {
	return nil, s.updateOIDCProvider(in.ARN, func(p *oidcProvider) error {
		p.ClientIDs = slices.DeleteFunc(p.ClientIDs, func(id string) bool { return id == in.ClientID })
		return nil
	})
}

type updateThumbprintInput struct {
	ARN            string   `query:"OpenIDConnectProviderArn" wire:"required"`
	ThumbprintList []string `query:"ThumbprintList" wire:"required"`
}

func (s *Service) updateThumbprint(_ context.Context, in *updateThumbprintInput) (*wire.Empty, error) {
	return nil, s.updateOIDCProvider(in.ARN, func(p *oidcProvider) error {
		p.Thumbprints = in.ThumbprintList
		return checkThumbprints(p.Thumbprints)
	})
}

type tagOIDCProviderInput struct {
	ARN  string `query:"OpenIDConnectProviderArn" wire:"required"`
	Tags []tag  `query:"Tags" wire:"required"`
}

func (s *Service) tagOIDCProvider(_ context.Context, in *tagOIDCProviderInput) (*wire.Empty, error) {
	return nil, s.updateOIDCProvider(in.ARN, func(p *oidcProvider) (err error) {
		p.Tags, err = setTags(p.Tags, in.Tags)
		return err
	})
}

type untagOIDCProviderInput struct {
	ARN     string   `query:"OpenIDConnectProviderArn" wire:"required"`
	TagKeys []string `query:"TagKeys" wire:"required"`
}

func (s *Service) untagOIDCProvider(_ context.Context, in *untagOIDCProviderInput) (*wire.Empty, error) {
	return nil, s.updateOIDCProvider(in.ARN, func(p *oidcProvider) error {
		removeTags(p.Tags, in.TagKeys)
		return nil
	})
}

type listOIDCProviderTagsInput struct {
	ARN string `query:"OpenIDConnectProviderArn" wire:"required"`
	pageInput
}

func (s *Service) listOIDCProviderTags(_ context.Context, in *listOIDCProviderTagsInput) (*listTagsOutput, error) {
	out := &listTagsOutput{}
	return out, s.state.View(func(st state) error {
		p, err := st.oidcProvider(in.ARN)
		out.set(p.Tags)
		return err
	})
}
