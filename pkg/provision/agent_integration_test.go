//go:build integration

package provision

import (
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// testAgent adds the CodeDeploy agent to a machine that serves. It comes from a bucket that only EC2 needs, so a package of the
// same form stands in for AWS's: how it is fetched, checked, confined and forgotten by the seal is the same.
func testAgent(t *testing.T, m debian) {
	const base = "/srv/base/provision/provision.sh base"
	const digests = "/srv/base/provision/base/codedeploy/packages.sha256"

	// An agent that does with the machine what the launch gate's scripts do, and what they must not.
	m.must(t, `install -D -m 755 /dev/stdin /srv/deb/opt/codedeploy-agent/bin/codedeploy-agent <<'END'
#!/bin/sh
[ "$1" = --version ] && echo "codedeploy-agent 2.1.0" && exit
mkdir -p /opt/codedeploy-agent/deployment-root /opt/codedeploy-agent/state /var/log/aws/codedeploy-agent
cd /opt/codedeploy-agent/deployment-root
{ systemctl start app.service && ingot-check 20; journalctl --unit app.service --lines 1 >/dev/null; echo "passed: $?"; } >gate 2>&1
for d in /etc /usr/local/bin /opt/app /home/admin /var/lib; do touch $d/x 2>/dev/null && echo "writes to $d" >>gate; done
echo agent >/var/log/aws/codedeploy-agent/agent.log
touch done; exec sleep infinity
END
mkdir -p /srv/deb/DEBIAN && printf 'Package: codedeploy-agent\nVersion: 2.1.0\nArchitecture: all\nMaintainer: test\nDescription: test\n' >/srv/deb/DEBIAN/control
printf '#!/bin/sh\ntouch /srv/maintainer-script-ran\n' >/srv/deb/DEBIAN/postinst && chmod 755 /srv/deb/DEBIAN/postinst
dpkg-deb --build -Znone /srv/deb /srv/agent.deb >/dev/null`)
	deb, err := base64.StdEncoding.DecodeString(m.must(t, "base64 -w0 /srv/agent.deb"))
	must(t, err)
	name := "codedeploy-agent_2.1.0-9745926189_" + m.must(t, "dpkg --print-architecture") + ".deb"

	served := deb
	host := m.must(t, `read -r _ _ gateway _ <<<"$(ip route show default)"; echo "$gateway"`)
	listener, err := net.Listen("tcp", host+":0") // this machine, as the other sees it
	must(t, err)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/releases/"+name || served == nil {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(served)
	}))
	server.Listener.Close()
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	bucket := "CODEDEPLOY_AGENT=" + server.URL

	t.Run("inputs", func(t *testing.T) {
		for _, bad := range []string{"install", "ftp://x", "https://x/$(id)", "https://"} {
			if got := m.mustFail(t, base, "CODEDEPLOY_AGENT="+bad); !strings.Contains(got, "is not the URL of a bucket") {
				t.Errorf("%s: %q", bad, got)
			}
		}
	})

	t.Run("no digest", func(t *testing.T) {
		got := m.mustFail(t, base, bucket)
		for _, want := range []string{"no digest of " + name, "releases/" + name + " | sha256sum | sed 's/-$/" + name + "/' >>provision/base/codedeploy/packages.sha256"} {
			if !strings.Contains(got, want) {
				t.Errorf("%q is not in %q", want, got)
			}
		}
	})
	if out := m.must(t, "ls /opt"); strings.Contains(out, "codedeploy") {
		t.Fatalf("/opt holds %s", out)
	}
	m.must(t, fmt.Sprintf("sha256sum </srv/agent.deb | sed 's/-$/%s/' >>%s", name, digests))

	for what, body := range map[string][]byte{"not there": nil, "another one": append([]byte("x"), deb...)} {
		t.Run(what, func(t *testing.T) {
			served = body
			if got := m.mustFail(t, base, bucket); !strings.Contains(got, "cannot fetch the CodeDeploy agent, or it is not the one in") {
				t.Errorf("message %q", got)
			} else {
				t.Log(got)
			}
			m.must(t, "! test -e /opt/codedeploy-agent && ! ls /var/tmp/codedeploy-agent.*")
		})
	}
	served = deb

	t.Run("installed", func(t *testing.T) {
		m.must(t, base, bucket)
		m.must(t, "systemctl is-enabled codedeploy-agent && ! systemctl is-active codedeploy-agent && ! test -e /srv/maintainer-script-ran && unzip -v")
		before := m.state(t)
		m.must(t, base, bucket)
		if diff := cmp.Diff(before, m.state(t)); diff != "" {
			t.Errorf("the second run changed something:\n%s", diff)
		}
	})

	t.Run("confined", func(t *testing.T) {
		m.must(t, "/srv/app/provision/provision.sh app", "RELEASE=r1", "PORT=8080", "HEALTH=/healthz", "SOURCE=/srv/app/service")
		m.must(t, "systemctl stop app && systemctl daemon-reload && systemctl start codedeploy-agent && until test -e /opt/codedeploy-agent/deployment-root/done; do sleep 0.1; done")
		if got := m.must(t, "cat /opt/codedeploy-agent/deployment-root/gate"); got != "passed: 0" {
			t.Errorf("the gate said %q", got)
		}
		t.Log(m.must(t, "systemd-analyze security --no-pager codedeploy-agent | tail -1"))
	})
}
