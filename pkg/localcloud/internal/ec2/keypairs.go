package ec2

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// keyPair is a key pair, of which only the public half is kept.
type keyPair struct {
	ID          string
	Name        string
	Type        string // rsa or ed25519
	Fingerprint string
	PublicKey   string // in authorized_keys form
	Created     time.Time
	Tags        tags
}

func (k *keyPair) key() (time.Time, string) { return k.Created, k.ID }
func (k *keyPair) tagged() tags             { return k.Tags }

func (k *keyPair) attribute(name string) ([]string, bool) {
	switch name {
	case "key-pair-id":
		return []string{k.ID}, true
	case "fingerprint":
		return []string{k.Fingerprint}, true
	case "key-name":
		return []string{k.Name}, true
	case "key-type":
		return []string{k.Type}, true
	}
	return nil, false
}

func (s *Service) keyPairActions() map[string]wire.Action {
	return map[string]wire.Action{
		"CreateKeyPair":    wire.Do(s.createKeyPair, s.creatingKeyPair),
		"DeleteKeyPair":    wire.Do(s.deleteKeyPair, func(in *deleteKeyPairInput) []wire.Access { return []wire.Access{s.onKeyPair(in.Name, in.ID)} }),
		"DescribeKeyPairs": wire.DoUnscoped(s.describeKeyPairs),
	}
}

// keyPairNamed returns a key pair, or nil. The caller holds the lock.
func (s *Service) keyPairNamed(name string) *keyPair {
	for _, k := range s.state.KeyPairs {
		if k.Name == name {
			return k
		}
	}
	return nil
}

type createKeyPairInput struct {
	Name     string            `query:"KeyName" wire:"required"`
	Type     string            `query:"KeyType" wire:"enum=rsa|ed25519"`
	Format   string            `query:"KeyFormat" wire:"enum=pem"`
	TagSpecs tagSpecifications `query:"TagSpecification"`
}

type keyPairOutput struct {
	Name        string `xml:"keyName"`
	Fingerprint string `xml:"keyFingerprint"`
	Material    string `xml:"keyMaterial,omitempty"`
	ID          string `xml:"keyPairId"`
	Tags        tags   `xml:"tagSet>item"`
}

func (s *Service) createKeyPair(_ context.Context, in *createKeyPairInput) (*keyPairOutput, error) {
	if len(in.Name) < 1 || len(in.Name) > 255 {
		return nil, wire.Errorf("InvalidParameterValue", "Key pair names have 1 to 255 characters")
	}
	tagged, err := in.TagSpecs.of("key-pair")
	if err != nil {
		return nil, err
	}
	k := &keyPair{ID: newID("key"), Name: in.Name, Type: cmp.Or(in.Type, "rsa"), Created: now(), Tags: tagged}
	generate := k.generateRSA
	if k.Type == "ed25519" {
		generate = k.generateEd25519
	}
	material, err := generate()
	if err != nil {
		return nil, fmt.Errorf("generate key pair %q: %w", in.Name, err)
	}
	err = s.change(func() error {
		if s.keyPairNamed(k.Name) != nil {
			return wire.Errorf("InvalidKeyPair.Duplicate", "The keypair already exists")
		}
		s.state.KeyPairs[k.ID] = k
		return nil
	})
	return &keyPairOutput{Name: k.Name, Fingerprint: k.Fingerprint, Material: string(material), ID: k.ID, Tags: tagged}, err
}

// generateRSA makes a key of 2048 bits, as EC2 does, and returns the private half in PEM.
func (k *keyPair) generateRSA() ([]byte, error) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	// EC2's fingerprint of a key that it made is the SHA-1 digest of the private key.
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	digest := sha1.Sum(der)
	k.Fingerprint = colons(digest[:])
	if err := k.setPublic(&private.PublicKey); err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)}), nil
}

// generateEd25519 makes a key and returns the private half in OpenSSH's format, which is the only one that there is.
func (k *keyPair) generateEd25519() ([]byte, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	if err := k.setPublic(public); err != nil {
		return nil, err
	}
	blob, _ := base64.StdEncoding.DecodeString(strings.Fields(k.PublicKey)[1])
	digest := sha256.Sum256(blob)
	k.Fingerprint = base64.StdEncoding.EncodeToString(digest[:])
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(block), nil
}

func (k *keyPair) setPublic(public crypto.PublicKey) error {
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		return err
	}
	k.PublicKey = strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
	return nil
}

func colons(digest []byte) string {
	parts := make([]string, len(digest))
	for i, b := range digest {
		parts[i] = hex.EncodeToString([]byte{b})
	}
	return strings.Join(parts, ":")
}

type describeKeyPairsInput struct {
	Names         []string `query:"KeyName"`
	IDs           []string `query:"KeyPairId"`
	Filters       filters  `query:"Filter"`
	WithPublicKey bool     `query:"IncludePublicKey"`
}

type keyPairView struct {
	ID          string    `xml:"keyPairId"`
	Fingerprint string    `xml:"keyFingerprint"`
	Name        string    `xml:"keyName"`
	Type        string    `xml:"keyType"`
	Tags        tags      `xml:"tagSet>item"`
	PublicKey   string    `xml:"publicKey,omitempty"`
	Created     time.Time `xml:"createTime"`
}

type describeKeyPairsOutput struct {
	KeyPairs []keyPairView `xml:"keySet>item"`
}

func (s *Service) describeKeyPairs(_ context.Context, in *describeKeyPairsInput) (*describeKeyPairsOutput, error) {
	s.document.Lock()
	defer s.document.Unlock()
	var all []*keyPair
	for _, name := range in.Names {
		k := s.keyPairNamed(name)
		if k == nil {
			return nil, wire.Errorf("InvalidKeyPair.NotFound", "The key pair '%s' does not exist", name)
		}
		all = append(all, k)
	}
	if len(in.IDs) > 0 || len(in.Names) == 0 {
		byID, err := find(s.state.KeyPairs, in.IDs, "InvalidKeyPair.NotFound", "key pair")
		if err != nil {
			return nil, err
		}
		all = append(all, byID...)
	}
	found, err := match(in.Filters, all)
	if err != nil {
		return nil, err
	}
	out := &describeKeyPairsOutput{}
	for _, k := range found {
		v := keyPairView{ID: k.ID, Fingerprint: k.Fingerprint, Name: k.Name, Type: k.Type, Tags: k.Tags, Created: k.Created}
		if in.WithPublicKey {
			v.PublicKey = k.PublicKey
		}
		out.KeyPairs = append(out.KeyPairs, v)
	}
	return out, nil
}

type deleteKeyPairInput struct {
	Name string `query:"KeyName"`
	ID   string `query:"KeyPairId"`
}

type deleteKeyPairOutput struct {
	Return bool   `xml:"return"`
	ID     string `xml:"keyPairId,omitempty"`
}

// deleteKeyPair succeeds for a key pair that is not there, as EC2 does.
func (s *Service) deleteKeyPair(_ context.Context, in *deleteKeyPairInput) (*deleteKeyPairOutput, error) {
	if in.Name == "" && in.ID == "" {
		return nil, missing("KeyName", "KeyPairId")
	}
	out := &deleteKeyPairOutput{Return: true}
	err := s.change(func() error {
		k := s.state.KeyPairs[in.ID]
		if in.ID == "" {
			k = s.keyPairNamed(in.Name)
		}
		if k != nil {
			delete(s.state.KeyPairs, k.ID)
			out.ID = k.ID
		}
		return nil
	})
	return out, err
}
