package ec2

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/md5"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"time"

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
		"CreateKeyPair":    wire.Do(s.createKeyPair),
		"DeleteKeyPair":    wire.Do(s.deleteKeyPair),
		"DescribeKeyPairs": wire.Do(s.describeKeyPairs),
		"ImportKeyPair":    wire.Do(s.importKeyPair),
	}
}

// keyPairNamed returns a key pair, or nil. The caller holds s.mu.
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
	made := &keyPair{Type: in.Type}
	var material []byte
	var err error
	if in.Type == "ed25519" {
		material, err = made.generateEd25519()
	} else {
		made.Type = "rsa"
		material, err = made.generateRSA()
	}
	if err != nil {
		return nil, fmt.Errorf("generate key pair %q: %w", in.Name, err)
	}
	out, err := s.addKeyPair(made, in.Name, in.TagSpecs)
	if err != nil {
		return nil, err
	}
	out.Material = string(material)
	return out, nil
}

func (s *Service) addKeyPair(k *keyPair, name string, specs tagSpecifications) (*keyPairOutput, error) {
	if name == "" || len(name) > 255 {
		return nil, wire.Errorf("InvalidParameterValue", "Key pair names have 1 to 255 characters")
	}
	tagged, err := specs.of("key-pair")
	if err != nil {
		return nil, err
	}
	k.ID, k.Name, k.Created, k.Tags = newID("key"), name, now(), tagged
	err = s.change(func() error {
		if s.keyPairNamed(name) != nil {
			return wire.Errorf("InvalidKeyPair.Duplicate", "The keypair already exists")
		}
		s.state.KeyPairs[k.ID] = k
		return nil
	})
	return &keyPairOutput{Name: k.Name, Fingerprint: k.Fingerprint, ID: k.ID, Tags: k.Tags}, err
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
	k.PublicKey = "ssh-rsa " + base64.StdEncoding.EncodeToString(rsaBlob(&private.PublicKey))
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)}), nil
}

// generateEd25519 makes a key and returns the private half in OpenSSH's format, which is the only one that there is.
func (k *keyPair) generateEd25519() ([]byte, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	blob := sshStrings([]byte("ssh-ed25519"), public)
	digest := sha256.Sum256(blob)
	k.Fingerprint = base64.StdEncoding.EncodeToString(digest[:])
	k.PublicKey = "ssh-ed25519 " + base64.StdEncoding.EncodeToString(blob)
	return pem.EncodeToMemory(&pem.Block{Type: "OPENSSH PRIVATE KEY", Bytes: opensshKey(blob, public, private)}), nil
}

// opensshKey encodes an unencrypted private key as OpenSSH's PROTOCOL.key has it.
func opensshKey(blob []byte, public ed25519.PublicKey, private ed25519.PrivateKey) []byte {
	var secret bytes.Buffer
	check := make([]byte, 4) // twice the same, to tell a wrong passphrase
	rand.Read(check)
	secret.Write(check)
	secret.Write(check)
	secret.Write(sshStrings([]byte("ssh-ed25519"), public, private, nil)) // the last is the comment
	for pad := byte(1); secret.Len()%8 != 0; pad++ {
		secret.WriteByte(pad)
	}
	out := []byte("openssh-key-v1\x00")
	out = append(out, sshStrings([]byte("none"), []byte("none"), nil)...) // cipher, key derivation, its options
	out = binary.BigEndian.AppendUint32(out, 1)                           // keys
	return append(out, sshStrings(blob, secret.Bytes())...)
}

// sshStrings encodes strings as the SSH protocol does: the length, then the bytes.
func sshStrings(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = binary.BigEndian.AppendUint32(out, uint32(len(p)))
		out = append(out, p...)
	}
	return out
}

// sshString takes one string off its encoded form.
func sshString(b []byte) (s, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n := binary.BigEndian.Uint32(b)
	if uint64(n) > uint64(len(b)-4) {
		return nil, nil, false
	}
	return b[4 : 4+n], b[4+n:], true
}

// rsaBlob is a public key as SSH sends it.
func rsaBlob(k *rsa.PublicKey) []byte {
	return sshStrings([]byte("ssh-rsa"), mpint(big.NewInt(int64(k.E))), mpint(k.N))
}

// mpint is a positive number as SSH sends it: with a zero byte first where the highest bit is set.
func mpint(n *big.Int) []byte {
	b := n.Bytes()
	if len(b) > 0 && b[0]&0x80 != 0 {
		b = append([]byte{0}, b...)
	}
	return b
}

func colons(digest []byte) string {
	parts := make([]string, len(digest))
	for i, b := range digest {
		parts[i] = hex.EncodeToString([]byte{b})
	}
	return strings.Join(parts, ":")
}

type importKeyPairInput struct {
	Name     string            `query:"KeyName" wire:"required"`
	Material []byte            `query:"PublicKeyMaterial" wire:"required"`
	TagSpecs tagSpecifications `query:"TagSpecification"`
}

func (s *Service) importKeyPair(_ context.Context, in *importKeyPairInput) (*keyPairOutput, error) {
	made, err := parsePublicKey(string(in.Material))
	if err != nil {
		return nil, err
	}
	return s.addKeyPair(made, in.Name, in.TagSpecs)
}

// parsePublicKey reads a public key in authorized_keys form.
func parsePublicKey(material string) (*keyPair, error) {
	invalid := wire.Errorf("InvalidKey.Format", "Key is not in valid OpenSSH public key format")
	fields := strings.Fields(material)
	if len(fields) < 2 {
		return nil, invalid
	}
	blob, err := base64.StdEncoding.DecodeString(fields[1])
	if err != nil {
		return nil, invalid
	}
	kind, rest, ok := sshString(blob)
	if !ok || string(kind) != fields[0] {
		return nil, invalid
	}
	k := &keyPair{PublicKey: strings.TrimSpace(material)}
	switch fields[0] {
	case "ssh-ed25519":
		public, _, ok := sshString(rest)
		if !ok || len(public) != ed25519.PublicKeySize {
			return nil, invalid
		}
		k.Type = "ed25519"
		digest := sha256.Sum256(blob)
		k.Fingerprint = base64.StdEncoding.EncodeToString(digest[:])
	case "ssh-rsa":
		e, rest, ok := sshString(rest)
		if !ok || len(e) > 4 {
			return nil, invalid
		}
		n, _, ok := sshString(rest)
		if !ok {
			return nil, invalid
		}
		public := &rsa.PublicKey{E: int(new(big.Int).SetBytes(e).Int64()), N: new(big.Int).SetBytes(n)}
		if bits := public.N.BitLen(); bits != 1024 && bits != 2048 && bits != 4096 {
			return nil, wire.Errorf("InvalidKeyPair.Format", "RSA keys have 1024, 2048 or 4096 bits")
		}
		k.Type = "rsa"
		// EC2's fingerprint of a key that was imported is the MD5 digest of the public key.
		der, err := x509.MarshalPKIXPublicKey(public)
		if err != nil {
			return nil, invalid
		}
		digest := md5.Sum(der)
		k.Fingerprint = colons(digest[:])
	default:
		return nil, invalid
	}
	return k, nil
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
	s.mu.Lock()
	defer s.mu.Unlock()
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
