package iam

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/iam/policy"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// This cloud plays the identity providers that its account trusts: it has one key, which signs the tokens of each of them, and knows the
// keys of nobody else. The tokens are JSON Web Tokens with the algorithm ES256, which AWS takes as well.
// See https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html.

// Token is what the token of an identity provider says.
type Token struct {
	Issuer   string `json:"iss"` // with https://
	Subject  string `json:"sub"`
	Audience string `json:"aud"`
	Issued   int64  `json:"iat"` // seconds since 1970
	Expires  int64  `json:"exp"`
}

type tokenHeader struct {
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
	Type      string `json:"typ"`
}

// newTokenKey makes a key for tokens.
func newTokenKey() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return x509.MarshalPKCS8PrivateKey(key)
}

// tokenKey returns the key for tokens and its ID.
func (st state) tokenKey() (*ecdsa.PrivateKey, string, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(st.TokenKey)
	key, ok := parsed.(*ecdsa.PrivateKey)
	if err != nil || !ok {
		return nil, "", fmt.Errorf("the key for tokens is damaged: %w", err)
	}
	sum := sha256.Sum256(st.TokenKey)
	return key, hex.EncodeToString(sum[:8]), nil
}

// signatureSize is the size of each of the two numbers of a signature.
const signatureSize = 32

// IssueToken returns a token of an identity provider, whether the account trusts that or not, that lasts from now on.
func (s *Service) IssueToken(issuer, subject, audience string, lasts time.Duration) (token string, err error) {
	return token, s.state.View(func(st state) error {
		key, id, err := st.tokenKey()
		if err != nil {
			return err
		}
		at := time.Now()
		var parts []string
		for _, part := range []any{
			tokenHeader{"ES256", id, "JWT"}, Token{issuer, subject, audience, at.Unix(), at.Add(lasts).Unix()},
		} {
			data, err := json.Marshal(part)
			if err != nil {
				return err
			}
			parts = append(parts, base64.RawURLEncoding.EncodeToString(data))
		}
		token = strings.Join(parts, ".")
		digest := sha256.Sum256([]byte(token))
		r, sig, err := ecdsa.Sign(rand.Reader, key, digest[:])
		if err != nil {
			return err
		}
		signature := make([]byte, 2*signatureSize)
		r.FillBytes(signature[:signatureSize])
		sig.FillBytes(signature[signatureSize:])
		token += "." + base64.RawURLEncoding.EncodeToString(signature)
		return nil
	})
}

func invalidToken(format string, args ...any) error {
	return wire.Errorf("InvalidIdentityToken", format, args...)
}

// verify reads a token of one of the account's providers, and returns it with the provider.
func (s *Service) verify(st state, text string) (token Token, provider string, err error) {
	malformed := invalidToken("The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)")
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return token, "", malformed
	}
	var decoded [3][]byte
	for i, part := range parts {
		if decoded[i], err = base64.RawURLEncoding.DecodeString(part); err != nil {
			return token, "", malformed
		}
	}
	var header tokenHeader
	if json.Unmarshal(decoded[0], &header) != nil || json.Unmarshal(decoded[1], &token) != nil {
		return token, "", malformed
	}
	name, secure := strings.CutPrefix(token.Issuer, "https://")
	provider = s.arn("oidc-provider", "/", name)
	known, ok := st.OIDCProviders[provider]
	if !secure || !ok {
		return token, "", invalidToken("No OpenIDConnect provider found in your account for %s", token.Issuer)
	}
	key, id, err := st.tokenKey()
	switch {
	case err != nil:
		return token, "", err
	case header.KeyID != id || header.Algorithm != "ES256":
		return token, "", invalidToken("Couldn't retrieve verification key from your identity provider, please reference " +
			"AssumeRoleWithWebIdentity documentation for requirements. (This local cloud reaches no identity provider: it takes tokens that it " +
			"issued itself.)")
	case len(decoded[2]) != 2*signatureSize || !signedBy(&key.PublicKey, parts[0]+"."+parts[1], decoded[2]):
		return token, "", invalidToken("The token's signature is not valid.")
	}
	if expires := time.Unix(token.Expires, 0); !time.Now().Before(expires) {
		return token, "", wire.Errorf("ExpiredTokenException", "Token expired: current date/time %d must be before the expiration date/time %d",
			time.Now().Unix(), token.Expires)
	}
	for _, client := range known.ClientIDs {
		if client == token.Audience {
			return token, provider, nil
		}
	}
	return token, "", invalidToken("Incorrect token audience")
}

func signedBy(key *ecdsa.PublicKey, text string, signature []byte) bool {
	digest := sha256.Sum256([]byte(text))
	r, s := new(big.Int).SetBytes(signature[:signatureSize]), new(big.Int).SetBytes(signature[signatureSize:])
	return ecdsa.Verify(key, digest[:], r, s)
}

// AssumeRoleWithWebIdentity begins a session for the holder of a token, whom the role's trust policy has to trust. It returns what the
// token says, and the ARN of its provider.
func (s *Service) AssumeRoleWithWebIdentity(text string, a Assumption) (c Credentials, token Token, provider string, err error) {
	if err := a.check(); err != nil {
		return c, token, "", err
	}
	err = s.state.Update(func(st *state) error {
		var err error
		if token, provider, err = s.verify(*st, text); err != nil {
			return err
		}
		r, found := s.roleOf(*st, a.RoleARN)
		decision := policy.NotAllowed
		if found {
			issuer := strings.TrimPrefix(token.Issuer, "https://")
			decision, err = r.trusts(policy.Request{
				Action: "sts:AssumeRoleWithWebIdentity", Principals: []policy.Principal{{Kind: "Federated", Name: provider}},
				Keys: policy.Keys{
					policy.Name(issuer + ":aud"): {token.Audience}, policy.Name(issuer + ":sub"): {token.Subject},
					"sts:rolesessionname": {a.SessionName},
				},
			})
		}
		switch {
		case err != nil:
			return err
		case decision != policy.Allowed:
			return accessDenied("Not authorized to perform sts:AssumeRoleWithWebIdentity")
		}
		lasts, err := a.lasts(r, false)
		if err == nil {
			c = s.begin(st, r, a.SessionName, lasts)
		}
		return err
	})
	return c, token, provider, err
}
