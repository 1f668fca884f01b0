//go:build integration

package machine

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
)

// asRoot is what root of a machine runs a script with: as a service of its systemd, and so not as the engine runs it.
func asRoot(script string, properties ...string) []string {
	args := []string{"systemd-run", "--quiet", "--pipe", "--wait"}
	for _, p := range properties {
		args = append(args, "--property="+p)
	}
	return append(args, "/bin/sh", "-c", script)
}

// TestRootOfAMachine checks that root of a machine cannot write to this host's kernel, look at its processes or devices, nor take rights
// back that boot.sh took away. What it tries is harmless where it succeeds.
func TestRootOfAMachine(t *testing.T) {
	e, image, labels := engine(t)
	name := unique("boundary")
	boot(t, e, Spec{Name: name, Image: image, Labels: labels})
	for what, script := range map[string]string{
		"write to /proc/sys":                       `echo 1 >/proc/sys/vm/drop_caches`,
		"make /proc/sys writable":                  `mount -o remount,bind,rw /proc/sys && echo 1 >/proc/sys/vm/drop_caches`,
		"look below /proc/sys's mount":             `umount /proc/sys && echo 1 >/proc/sys/vm/drop_caches`,
		"mount another /proc":                      `mount -t proc proc /mnt && echo 1 >/mnt/sys/vm/drop_caches`,
		"mount the /proc of its own processes":     `unshare --pid --fork --mount sh -c 'mount -t proc proc /mnt && echo 1 >/mnt/sys/vm/drop_caches'`,
		"mount /proc in a user namespace":          `unshare --user --map-root-user --mount --pid --fork sh -c 'mount -t proc proc /mnt && echo 1 >/mnt/sys/vm/drop_caches'`,
		"bind /proc elsewhere":                     `mount --rbind /proc /mnt && mount -o remount,bind,rw /mnt/sys && echo 1 >/mnt/sys/vm/drop_caches`,
		"set the host's core pattern":              `was=$(cat /proc/sys/kernel/core_pattern) && echo "$was" >/proc/sys/kernel/core_pattern`,
		"press a magic key":                        `echo s >/proc/sysrq-trigger`,
		"make /sys writable":                       `mount -o remount,bind,rw /sys && mkdir /sys/fs/cgroup/cpu/escape`,
		"mount another /sys":                       `mount -t sysfs sysfs /mnt && was=$(cat /mnt/kernel/profiling) && test -w /mnt/kernel/profiling`,
		"mount debugfs":                            `mount -t debugfs debugfs /mnt`,
		"mount securityfs":                         `mount -t securityfs securityfs /mnt`,
		"set a release agent":                      `mount -t cgroup -o memory cgroup /mnt && echo >/mnt/release_agent`,
		"make a disk's device":                     `mknod /tmp/disk b 8 0 && dd if=/tmp/disk of=/dev/null count=1`,
		"open the kernel's memory":                 `mknod /tmp/kmem c 1 1 && dd if=/tmp/kmem of=/dev/null count=1`,
		"read the kernel's log":                    `dmesg`,
		"set the clock":                            `date --set=2020-01-01`,
		"enter the namespaces of the engine":       `nsenter --target 1 --user --mount true && nsenter --target $(pgrep -o sleep) --user mount -t proc proc /mnt`,
		"become one that may do everything":        `setpriv --bounding-set=+all --inh-caps=+all mount -t proc proc /mnt`,
		"change this host's name for the network":  `ip link set eth0 down`,
		"listen to everything that passes on wire": `perl -MSocket -e 'socket(my $s, 17, SOCK_RAW, 768) or exit 1'`,
	} {
		var out bytes.Buffer
		err := e.Exec(t.Context(), name, Command{Args: asRoot(script), Stdout: &out, Stderr: &out})
		exit := new(ExitError)
		if !errors.As(err, &exit) {
			t.Errorf("root of a machine may %s: %v\n%s", what, err, out.String())
		}
	}
}

// TestSandboxes checks that what services are hardened with works in a machine as it does in a real one.
func TestSandboxes(t *testing.T) {
	e, image, labels := engine(t)
	name := unique("sandbox")
	boot(t, e, Spec{Name: name, Image: image, Labels: labels})
	for _, test := range []struct {
		script, want string
		properties   []string
	}{
		{"touch /usr/x 2>&1 | grep -c Read-only", "1", []string{"ProtectSystem=strict"}},
		{"ls /home | wc -l", "0", []string{"ProtectHome=tmpfs"}},
		{"touch /tmp/here; ls /tmp | wc -l", "1", []string{"PrivateTmp=yes"}},
		{"test -e /dev/console || echo none", "none", []string{"PrivateDevices=yes"}},
		{"id -u | grep -c ^6", "1", []string{"DynamicUser=yes", "StateDirectory=sandboxed", "CapabilityBoundingSet=", "AmbientCapabilities="}},
		{"unshare --user true 2>&1 | grep -c denied\\\\\\|permitted", "1", []string{"RestrictNamespaces=yes"}},
		{"cat /proc/sys/kernel/ostype", "Linux", []string{
			"ProtectKernelTunables=yes", "ProtectKernelModules=yes", "ProtectKernelLogs=yes", "ProtectControlGroups=yes", "ProtectClock=yes",
			"ProtectHostname=yes", "ProtectProc=invisible", "ProcSubset=all", "LockPersonality=yes", "MemoryDenyWriteExecute=yes",
			"NoNewPrivileges=yes", "PrivateUsers=yes", "RestrictRealtime=yes", "RestrictSUIDSGID=yes", "SystemCallFilter=@system-service",
			"SystemCallArchitectures=native", "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
		}},
	} {
		if got := run(t, e, name, asRoot(test.script, test.properties...)...); got != test.want {
			t.Errorf("%v: %s = %q, want %q", test.properties, test.script, got, test.want)
		}
	}
}

// TestMachinesAreBounded checks that a machine has no more memory than it is given, and that machines of one network do not reach one
// another, while they reach this host, and it reaches them.
func TestMachinesAreBounded(t *testing.T) {
	e, image, labels := engine(t)
	network := unique("bounded")
	if err := e.CreateNetwork(t.Context(), network, labels); err != nil {
		t.Fatal(err)
	}
	one := boot(t, e, Spec{Name: unique("one"), Image: image, Labels: labels, Network: network, Memory: 256 << 20, CPUs: 1})
	two := boot(t, e, Spec{Name: unique("two"), Image: image, Labels: labels, Network: network})
	const reach = `timeout 3 bash -c "exec 3<>/dev/tcp/$0/22 && head -c3 <&3" || echo out of reach`
	if got := run(t, e, one.Name, "bash", "-c", reach, two.Address.String()); got != "out of reach" {
		t.Errorf("one machine reaches another: %s", got)
	}
	if got := run(t, e, one.Name, "bash", "-c", reach, "127.0.0.1"); got != "SSH" {
		t.Errorf("a machine reaches itself: %s", got)
	}
	c, err := e.Dial(t.Context(), two.Name, netip.AddrPortFrom(two.Address, 22))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	banner := make([]byte, 3)
	if _, err := io.ReadFull(c, banner); err != nil || string(banner) != "SSH" {
		t.Errorf("%q, %v", banner, err)
	}
	if !e.host.memoryLimit {
		t.Log("this engine cannot limit memory")
		return
	}
	var out bytes.Buffer
	err = e.Exec(t.Context(), one.Name, Command{
		Args: []string{"perl", "-e", `my @all; for (1..64) { push @all, 'x' x (16 << 20) } print "all of it"`}, Stdout: &out,
	})
	if err == nil || strings.Contains(out.String(), "all of it") {
		t.Error("a machine of 256 MiB takes 1 GiB")
	}
}
