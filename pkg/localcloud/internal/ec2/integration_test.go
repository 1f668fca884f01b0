//go:build integration

package ec2

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// TestSSHKeygen has OpenSSH read the keys that CreateKeyPair makes.
func TestSSHKeygen(t *testing.T) {
	keygen, err := exec.LookPath("ssh-keygen")
	if err != nil {
		t.Skip("OpenSSH is not installed: the keys cannot be checked")
	}
	c := start(t)
	for _, kind := range []types.KeyType{"rsa", "ed25519"} {
		made := must(c.client.CreateKeyPair(t.Context(), &sdk.CreateKeyPairInput{KeyName: aws.String(string(kind)), KeyType: kind}))(t)
		file := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(file, []byte(*made.KeyMaterial), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := exec.CommandContext(t.Context(), keygen, "-y", "-f", file).Output()
		if err != nil {
			t.Fatalf("ssh-keygen: %v", err)
		}
		if want := c.service.keyPairNamed(string(kind)).PublicKey; strings.TrimSpace(string(got)) != want {
			t.Errorf("the public half of the %s key is %s, want %s", kind, got, want)
		}
	}
}
