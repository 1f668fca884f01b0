//go:build integration

package dockercompute

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/compute"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/loopback"
	"github.com/ingot-build/ingot/pkg/machine"
)

// unique is the ID of a cloud of this run's: another run may be going on beside it.
func unique(id string) string { return fmt.Sprintf("test-%d-%s", os.Getpid(), id) }

// cloud returns the Compute of a cloud that is purged when the test ends.
func cloud(t *testing.T, id string) (*Compute, *machine.Engine) {
	t.Helper()
	keep := unique(id) + ":keep"
	e, err := machine.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// The machine image stays for the next test: this tag says that it is in use.
	image, err := e.Image(t.Context(), machine.ImageOptions{})
	if err == nil {
		err = e.TagImage(t.Context(), image, keep)
	}
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(e, Options{CloudID: id})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background() // the test's is over
		if err := errors.Join(c.Purge(ctx), e.RemoveImage(ctx, keep), e.Close()); err != nil {
			t.Error(err)
		}
	})
	return c, e
}

// keyPair makes an SSH key pair; it returns the private key's file and the public key.
func keyPair(t *testing.T) (file, public string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	data, err := os.ReadFile(file + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	return file, strings.TrimSpace(string(data))
}

// ssh runs a command as admin, once sshd answers.
func ssh(t *testing.T, c *Compute, m compute.Machine, key, command string) string {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		cmd := exec.CommandContext(t.Context(), "ssh", "-i", key, "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no",
			"-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=5", "admin@"+m.Address.String(), command)
		out, err := cmd.CombinedOutput()
		if err == nil {
			return strings.TrimSpace(string(out))
		}
		if time.Now().After(deadline) {
			console, _ := c.Console(t.Context(), m.ID)
			t.Fatalf("ssh: %v: %s\nconsole:\n%s", err, out, console)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestImageOfAMachineBootsAsAnotherMachine(t *testing.T) {
	c, e := cloud(t, unique("commit"))
	ctx := t.Context()
	key, public := keyPair(t)
	source := must[string](t)(c.SourceImage(ctx, "x86_64"))
	const identity = "cat /etc/machine-id; cut -d' ' -f2 /etc/ssh/ssh_host_*.pub"

	begin := time.Now()
	first := must[compute.Machine](t)(c.Create(ctx, compute.Spec{
		ID: "i-1", Image: source, Hostname: "ip-10-0-0-1", AuthorizedKeys: []string{public},
		UserData: []byte("#!/bin/sh\necho $(hostname) >>/root/user-data-ran\n"),
	}))
	firstIdentity := ssh(t, c, first, key, identity)
	t.Logf("ssh answers %v after the creation began", time.Since(begin).Round(time.Millisecond))
	got := ssh(t, c, first, key, "cloud-init status --wait; sudo cat /root/user-data-ran; hostname")
	if got != "status: done\nip-10-0-0-1\nip-10-0-0-1" {
		t.Errorf("got %q", got)
	}

	// A reboot keeps the identity, and does not run the user data again.
	if err := c.Stop(ctx, "i-1"); err != nil {
		t.Fatal(err)
	}
	first = must[compute.Machine](t)(c.Start(ctx, "i-1"))
	if got := ssh(t, c, first, key, identity); got != firstIdentity {
		t.Errorf("after a reboot the identity is\n%s\nbefore\n%s", got, firstIdentity)
	}
	if got := ssh(t, c, first, key, "cloud-init status --wait; sudo cat /root/user-data-ran"); got != "status: done\nip-10-0-0-1" {
		t.Errorf("got %q", got)
	}

	if err := c.Stop(ctx, "i-1"); err != nil {
		t.Fatal(err)
	}
	if m := must[compute.Machine](t)(c.Inspect(ctx, "i-1")); m != (compute.Machine{ID: "i-1", State: compute.Stopped}) {
		t.Errorf("got %+v", m)
	}
	begin = time.Now()
	image := must[compute.Image](t)(c.Commit(ctx, "i-1", "ami-1")).Ref
	t.Logf("the image took %v", time.Since(begin).Round(time.Millisecond))
	otherKey, otherPublic := keyPair(t)
	second := must[compute.Machine](t)(c.Create(ctx, compute.Spec{ID: "i-2", Image: image, Hostname: "ip-10-0-0-2", AuthorizedKeys: []string{otherPublic}}))
	secondIdentity := ssh(t, c, second, otherKey, identity)
	for line := range strings.Lines(firstIdentity) {
		if strings.Contains(secondIdentity, strings.TrimSpace(line)) {
			t.Errorf("both machines have %s", line)
		}
	}
	if got := ssh(t, c, second, otherKey, "cloud-init status --wait; sudo cat /root/user-data-ran; hostname"); got != "status: done\nip-10-0-0-1\nip-10-0-0-2" {
		t.Errorf("got %q", got)
	}

	// The image may go while a machine runs from it, as on EC2.
	if err := c.RemoveImage(ctx, image); err != nil {
		t.Errorf("remove the image of a machine that runs: %v", err)
	}
	if err := c.Stop(ctx, "i-2"); err != nil {
		t.Fatal(err)
	}
	must[compute.Machine](t)(c.Start(ctx, "i-2"))
	if err := c.Remove(ctx, "i-2"); err != nil {
		t.Error(err)
	}
	if images := must[[]machine.ImageInfo](t)(e.Images(ctx, map[string]string{cloudLabel: unique("commit")})); len(images) > 0 {
		t.Errorf("the removed image outlives its last machine: %+v", images)
	}
	if m := must[compute.Machine](t)(c.Inspect(ctx, "i-2")); m != (compute.Machine{ID: "i-2", State: compute.Gone}) {
		t.Errorf("got %+v", m)
	}
}

func TestCloudsSideBySide(t *testing.T) {
	one, e := cloud(t, unique("one"))
	two, _ := cloud(t, unique("one-two")) // one's ID is the beginning of this one's
	ctx := t.Context()
	key, public := keyPair(t)
	var machines []compute.Machine
	for _, c := range []*Compute{one, two} {
		source := must[string](t)(c.SourceImage(ctx, "x86_64"))
		machines = append(machines, must[compute.Machine](t)(c.Create(ctx, compute.Spec{ID: "i-1", Image: source, AuthorizedKeys: []string{public}})))
	}
	if machines[0].Address == machines[1].Address {
		t.Errorf("both machines have the address %v", machines[0].Address)
	}
	for i, c := range []*Compute{one, two} {
		if got := must[[]compute.Machine](t)(c.List(ctx)); !slices.Equal(got, machines[i:i+1]) {
			t.Errorf("got %+v, want %+v", got, machines[i:i+1])
		}
	}
	ids := []string{ssh(t, one, machines[0], key, "cat /etc/machine-id"), ssh(t, two, machines[1], key, "cat /etc/machine-id")}
	if ids[0] == ids[1] {
		t.Error("both machines have the same machine ID")
	}
	must[compute.Image](t)(one.Commit(ctx, "i-1", "ami-1"))
	must[compute.Image](t)(one.Commit(ctx, "i-1", "ami-1")) // leaves the first one without a tag

	if err := one.Purge(ctx); err != nil {
		t.Fatal(err)
	}
	if left := leftovers(t, unique("one")); left != "" {
		t.Errorf("purge left\n%s", left)
	}
	if m := must[compute.Machine](t)(two.Inspect(ctx, "i-1")); m != machines[1] {
		t.Errorf("purging one cloud changed the other's machine: %+v", m)
	}
	if exists, err := e.ImageExists(ctx, two.sourceTag()); !exists || err != nil {
		t.Errorf("purging one cloud removed the other's source image: %v", err)
	}
	if err := one.Purge(ctx); err != nil {
		t.Errorf("purge again: %v", err)
	}
}

func TestManyAtOnce(t *testing.T) {
	c, _ := cloud(t, unique("many"))
	ctx := t.Context()
	key, public := keyPair(t)
	source := must[string](t)(c.SourceImage(ctx, "x86_64"))
	begin := time.Now()
	var started sync.WaitGroup
	machines := make([]compute.Machine, 4)
	errs := make([]error, len(machines))
	for i := range machines {
		started.Go(func() {
			machines[i], errs[i] = c.Create(ctx, compute.Spec{ID: fmt.Sprintf("i-%d", i), Image: source, AuthorizedKeys: []string{public}})
		})
	}
	started.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	seen := map[netip.Addr]bool{}
	for _, m := range machines {
		ssh(t, c, m, key, "true")
		seen[m.Address] = true
	}
	t.Logf("ssh answers on all of %d machines after %v", len(machines), time.Since(begin).Round(time.Millisecond))
	if len(seen) != len(machines) {
		t.Errorf("machines share addresses: %+v", machines)
	}
}

// leftovers lists what the engine has of a cloud, asking the docker command, which knows nothing of this package.
func leftovers(t *testing.T, id string) string {
	t.Helper()
	var left []string
	for _, args := range []string{
		"ps -aq --filter label=ingot.cloud=" + id,
		"network ls -q --filter label=ingot.cloud=" + id,
		"images -aq --filter label=ingot.cloud=" + id,
		"images -q --filter reference=ingot-" + id + "/*",
		"volume ls -q --filter label=ingot.cloud=" + id,
	} {
		out, err := exec.Command("docker", strings.Fields(args)...).CombinedOutput()
		if err != nil {
			t.Fatalf("docker %s: %v\n%s", args, err, out)
		}
		if s := strings.TrimSpace(string(out)); s != "" {
			left = append(left, args+": "+s)
		}
	}
	return strings.Join(left, "\n")
}

func TestWatch(t *testing.T) {
	c, e := cloud(t, unique("watch"))
	ctx, cancel := context.WithCancel(t.Context())
	source := must[string](t)(c.SourceImage(ctx, "x86_64"))
	changes := c.Watch(ctx)
	wait := func(want compute.State) {
		t.Helper()
		for {
			select {
			case m, ok := <-changes:
				if !ok {
					t.Fatalf("the channel closed; want %s", want)
				}
				if m.ID == "i-1" && m.State == want {
					return
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("the state %s was not reported", want)
			}
		}
	}
	must[compute.Machine](t)(c.Create(ctx, compute.Spec{ID: "i-1", Image: source}))
	wait(compute.Running)
	// A reboot from inside, as in a provisioning script: the machine comes up again.
	name := "ingot-" + unique("watch") + "-i-1"
	must[[]string](t)(e.WaitBooted(ctx, name))
	if err := e.Exec(ctx, name, machine.Command{Args: []string{"systemctl", "reboot"}}); err != nil {
		t.Fatal(err)
	}
	wait(compute.Running)
	if out, err := exec.Command("docker", "kill", name).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	wait(compute.Stopped)
	if err := c.Remove(ctx, "i-1"); err != nil {
		t.Fatal(err)
	}
	wait(compute.Gone)
	cancel()
	for range changes { // closes
	}
}

func TestForward(t *testing.T) {
	c, _ := cloud(t, unique("forward"))
	ctx := t.Context()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "host %s", r.Host)
	}))
	t.Cleanup(server.Close)
	to := netip.MustParseAddrPort(server.Listener.Addr().String())
	block, err := loopback.Choose(unique("forward"))
	if err != nil {
		t.Fatal(err)
	}
	from := netip.AddrPortFrom(block.Endpoint().Addr(), 80)

	begin := time.Now()
	if _, err := c.Forward(ctx, from, to); err != nil {
		t.Fatal(err)
	}
	t.Logf("the relay listens after %v", time.Since(begin).Round(time.Millisecond))
	get := func() (string, error) {
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
		response, err := client.Get("http://" + from.String())
		if err != nil {
			return "", err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		return string(body), err
	}
	for range 3 {
		if got, err := get(); got != "host "+from.String() || err != nil {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	// What a killed process left behind is replaced.
	stop, err := c.Forward(ctx, from, to)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := get(); got != "host "+from.String() || err != nil {
		t.Fatalf("got %q, %v", got, err)
	}
	stop()
	if got, err := get(); err == nil {
		t.Errorf("got %q after the relay was stopped", got)
	}

	taken, err := net.Listen("tcp", netip.AddrPortFrom(from.Addr(), 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if _, err := c.Forward(ctx, netip.MustParseAddrPort(taken.Addr().String()), to); !errors.Is(err, machine.ErrPortTaken) {
		t.Errorf("got %v, want ErrPortTaken", err)
	}
	if left := must[[]compute.Machine](t)(c.List(ctx)); len(left) != 0 {
		t.Errorf("relays are listed as machines: %+v", left)
	}
}
