package machine

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ingot-build/ingot/internal/loopback"
)

// Proxies are the variables by which this process's environment names the network's proxies, for programs in machines, sorted. They are
// in lower case, which every program reads. One on this host's loopback is out of a machine's reach and left out.
func Proxies() []string {
	var variables []string
	for _, name := range []string{"http_proxy", "https_proxy", "no_proxy"} {
		value := os.Getenv(name)
		if value == "" {
			value = os.Getenv(strings.ToUpper(name))
		}
		if value != "" && !loopback.URL(value) {
			variables = append(variables, name+"="+value)
		}
	}
	if len(variables) == 1 && strings.HasPrefix(variables[0], "no_proxy=") {
		return nil
	}
	return variables
}

// authorityFolders are where distributions have an administrator put certificate authorities of one's own: Debian and Ubuntu, Fedora, Arch.
var authorityFolders = []string{"/usr/local/share/ca-certificates", "/etc/pki/ca-trust/source/anchors", "/etc/ca-certificates/trust-source/anchors"}

// updateAuthorities makes a machine trust the authorities of authorityFiles.
const updateAuthorities = "\nupdate-ca-certificates >/dev/null\n"

// authorityFiles are the certificate authorities that this host trusts beside those of its distribution, one a file, where Debian looks for
// them: what a company's network puts between a machine and the internet is signed by one of its own. What cannot be read is not there.
func authorityFiles(folders []string) []File {
	found := map[string][]byte{} // by its path in the machine
	for _, folder := range folders {
		for _, pattern := range []string{"*", "*/*"} {
			paths, _ := filepath.Glob(filepath.Join(folder, pattern)) // the patterns are well-formed
			for _, path := range paths {
				data, _ := os.ReadFile(path)
				for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
					if block.Type == "CERTIFICATE" {
						digest := sha256.Sum256(block.Bytes)
						name := "/usr/local/share/ca-certificates/host-" + hex.EncodeToString(digest[:8]) + ".crt"
						found[name] = pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes})
					}
				}
			}
		}
	}
	var files []File
	for _, name := range slices.Sorted(maps.Keys(found)) {
		files = append(files, File{Path: name, Data: found[name]})
	}
	return files
}
