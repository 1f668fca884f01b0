//go:build integration

package machine

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path"
	"strings"
	"testing"
)

// registry serves one image, made of a root file system, under every name. Engines take a registry on loopback without TLS.
func registry(t *testing.T, root []byte, architecture string) *httptest.Server {
	t.Helper()
	blobs := map[string][]byte{}
	add := func(data []byte) string {
		digest := digestOf(data)
		blobs[digest] = data
		return digest
	}
	var layer bytes.Buffer
	z, _ := gzip.NewWriterLevel(&layer, gzip.BestSpeed)
	if _, err := z.Write(root); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	asJSON := func(v any) []byte {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	config := asJSON(map[string]any{
		"architecture": architecture, "os": "linux", "config": map[string]any{"Cmd": []string{"bash"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{digestOf(root)}},
	})
	const kind = "application/vnd.docker.distribution.manifest.v2+json"
	manifest := asJSON(map[string]any{
		"schemaVersion": 2, "mediaType": kind,
		"config": map[string]any{"mediaType": "application/vnd.docker.container.image.v1+json", "size": len(config), "digest": add(config)},
		"layers": []any{map[string]any{
			"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "size": layer.Len(), "digest": add(layer.Bytes()),
		}},
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/v2/":
		case strings.Contains(r.URL.Path, "/manifests/"):
			w.Header().Set("Content-Type", kind)
			w.Header().Set("Docker-Content-Digest", digestOf(manifest))
			_, _ = w.Write(manifest)
		case blobs[path.Base(r.URL.Path)] != nil:
			_, _ = w.Write(blobs[path.Base(r.URL.Path)])
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// minimalRoot is a root file system like the one of Debian's official image, with what that adds for containers.
func minimalRoot(t *testing.T) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "mmdebstrap", "--variant=minbase", "--quiet",
		`--customize-hook=printf '#!/bin/sh\nexit 101\n' >"$1/usr/sbin/policy-rc.d"; chmod +x "$1/usr/sbin/policy-rc.d"`,
		`--customize-hook=echo 'APT::Update::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb || true"; };' >"$1/etc/apt/apt.conf.d/docker-clean"`,
		debianCodename, "-", "deb "+defaultMirror+" "+debianCodename+" main")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	root, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	return root
}

func TestImageFromARegistry(t *testing.T) {
	e, usual, labels := engine(t)
	ctx := t.Context()
	server := registry(t, minimalRoot(t), e.Architecture())
	official := strings.TrimPrefix(server.URL, "http://") + "/debian:13"

	image, err := e.Image(ctx, ImageOptions{Registry: official})
	if err != nil {
		t.Fatal(err)
	}
	if image == usual {
		t.Fatalf("both images are %s", image)
	}
	fromRegistry, fromPackages := unique("registry"), unique("packages")
	boot(t, e, Spec{Name: fromRegistry, Image: image, Labels: labels})
	boot(t, e, Spec{Name: fromPackages, Image: usual, Labels: labels})
	t.Cleanup(func() {
		ctx := context.Background() // the test's is over
		if err := errors.Join(e.Remove(ctx, fromRegistry), e.RemoveImage(ctx, image)); err != nil {
			t.Error(err)
		}
	})
	if left, err := e.ImageExists(ctx, official); left || err != nil {
		t.Errorf("the pulled image is left behind: %v", err)
	}
	for _, command := range []string{
		"dpkg-query -W -f '${Package}\n'",
		"systemctl list-unit-files --no-legend",
		"find /etc -xdev \\( -type f -o -type l \\) ! -path '/etc/runit/*' ! -name 'ssh_host_*' ! -name '*-' | sort",
		"cat /etc/apt/sources.list.d/debian.sources",
		"getent passwd; getent group",
	} {
		a := run(t, e, fromRegistry, "sh", "-c", command)
		b := run(t, e, fromPackages, "sh", "-c", command)
		if a != b {
			t.Errorf("%s: made from a registry's image it is\n%s\nmade from packages\n%s", command, onlyIn(a, b), onlyIn(b, a))
		}
	}
}

// onlyIn are the lines of a that b lacks.
func onlyIn(a, b string) string {
	var lines []string
	has := map[string]bool{}
	for line := range strings.Lines(b) {
		has[strings.TrimSpace(line)] = true
	}
	for line := range strings.Lines(a) {
		if !has[strings.TrimSpace(line)] {
			lines = append(lines, "  "+strings.TrimSpace(line))
		}
	}
	return strings.Join(lines, "\n")
}
