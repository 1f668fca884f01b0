package iam

import (
	"context"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/service"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

const (
	// maxClientIDs and maxThumbprints are how many of each a provider may have.
	maxClientIDs   = 100
	maxThumbprints = 5
)

// oidcProvider is somebody else's service whose tokens roles may trust. This cloud issues them in its place.
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
	URL            string        `query:"Url" wire:"required"`
	ClientIDList   []string      `query:"ClientIDList"`
	ThumbprintList []string      `query:"ThumbprintList"`
	Tags           []service.Tag `query:"Tags"`
}

type createOIDCProviderOutput struct {
	ARN  string `xml:"OpenIDConnectProviderArn"`
	Tags *service.List[service.Tag]
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
	tags, err := tagging().Set(nil, in.Tags)
	if err != nil {
		return nil, err
	}
	arn := s.arn("oidc-provider", "/", name)
	return &createOIDCProviderOutput{ARN: arn, Tags: tagList(tags)}, s.state.Update(func(st *state) error {
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
	Tags           *service.List[service.Tag]
}

func (s *Service) getOIDCProvider(_ context.Context, in *oidcProviderInput) (*getOIDCProviderOutput, error) {
	out := &getOIDCProviderOutput{}
	return out, s.state.View(func(st state) error {
		p, err := st.oidcProvider(in.ARN)
		*out = getOIDCProviderOutput{
			URL: p.URL, ClientIDList: p.ClientIDs, ThumbprintList: p.Thumbprints, CreateDate: p.Created, Tags: tagList(p.Tags),
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

type tagOIDCProviderInput struct {
	ARN  string        `query:"OpenIDConnectProviderArn" wire:"required"`
	Tags []service.Tag `query:"Tags" wire:"required"`
}

func (s *Service) tagOIDCProvider(_ context.Context, in *tagOIDCProviderInput) (*wire.Empty, error) {
	return nil, s.updateOIDCProvider(in.ARN, func(p *oidcProvider) (err error) {
		p.Tags, err = tagging().Set(p.Tags, in.Tags)
		return err
	})
}

type untagOIDCProviderInput struct {
	ARN     string   `query:"OpenIDConnectProviderArn" wire:"required"`
	TagKeys []string `query:"TagKeys" wire:"required"`
}

func (s *Service) untagOIDCProvider(_ context.Context, in *untagOIDCProviderInput) (*wire.Empty, error) {
	return nil, s.updateOIDCProvider(in.ARN, func(p *oidcProvider) error {
		p.Tags = service.RemoveTags(p.Tags, in.TagKeys)
		return nil
	})
}
