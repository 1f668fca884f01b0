//go:build integration

package localcloud

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
)

// TestMachinesSurvive runs an instance on Docker and ends the cloud in each way: killed, the instance goes on; stopped, nothing runs until
// the next start; purged, nothing is left.
func TestMachinesSurvive(t *testing.T) {
	ctx := t.Context()
	options := dockerOptions(t)
	dir := options.StateDir
	begin := time.Now()
	c, err := Start(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("started after %s", time.Since(begin))
	runInstance(t, c)
	first := waitForSSH(t, dir)
	running, _, err := folder(dir).server()
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(running.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(ctx, options); err != nil {
		t.Fatal(err)
	}
	if then := waitForSSH(t, dir); then.PrivateAddress != first.PrivateAddress || then.PublicAddress != first.PublicAddress {
		t.Errorf("after a kill the machine is %+v, before it was %+v", then, first)
	}
	if err := Stop(ctx, dir); err != nil {
		t.Fatal(err)
	}
	b, err := connectDocker(ctx, folder(dir).cloudID())
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	machines, err := b.compute.List(ctx)
	if err != nil || len(machines) != 1 || machines[0].State != "stopped" {
		t.Errorf("machines of a stopped cloud: %+v, %v", machines, err)
	}
	if _, err := Start(ctx, options); err != nil {
		t.Fatal(err)
	}
	if then := waitForSSH(t, dir); then.PublicAddress != first.PublicAddress {
		t.Errorf("after a stop the machine is %+v, before it was %+v", then, first)
	}
	if err := Purge(ctx, dir); err != nil {
		t.Fatal(err)
	}
	if machines, err = b.compute.List(ctx); err != nil || len(machines) != 0 {
		t.Errorf("machines of a purged cloud: %+v, %v", machines, err)
	}
}

// TestSavedMachines saves a cloud with an instance and brings it back twice, beside the first: each has a machine of its own with the
// same disk, at an address of its own, and once all are purged nothing is left.
func TestSavedMachines(t *testing.T) {
	ctx := t.Context()
	options, saved := dockerOptions(t), filepath.Join(t.TempDir(), "saved")
	t.Cleanup(func() {
		if err := Purge(context.Background(), saved); err != nil {
			t.Error(err)
		}
	})
	c, err := Start(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	runInstance(t, c)
	first := waitForSSH(t, options.StateDir)
	key, debian := hostKey(t, first.PublicAddress), debianImage(t, c)
	begin := time.Now()
	if err := Save(ctx, options, saved, nil); err != nil {
		t.Fatal(err)
	}
	t.Logf("saved after %s", time.Since(begin))
	if then := waitForSSH(t, options.StateDir); then.PublicAddress != first.PublicAddress {
		t.Errorf("after it was saved the machine is %+v, before it was %+v", then, first)
	}
	seen := map[string]bool{first.PublicAddress: true, first.PrivateAddress: true}
	var loaded []Options
	for range 2 {
		o := dockerOptions(t)
		loaded = append(loaded, o)
		begin := time.Now()
		if err := Load(ctx, saved, o.StateDir, nil); err != nil {
			t.Fatal(err)
		}
		c, err := Start(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("loaded and started after %s", time.Since(begin))
		if got := debianImage(t, c); got != debian {
			t.Errorf("Debian's image is %s, was %s: everything made from it would be made anew", got, debian)
		}
		then := waitForSSH(t, o.StateDir)
		if seen[then.PublicAddress] || seen[then.PrivateAddress] || then.ID != first.ID {
			t.Errorf("the machine is %+v, the first is %+v", then, first)
		}
		seen[then.PublicAddress], seen[then.PrivateAddress] = true, true
		if got := hostKey(t, then.PublicAddress); got != key {
			t.Errorf("the machine's host key is %q, want %q", got, key)
		}
	}
	// Whoever brings a cloud back does not need what was saved any more, nor the cloud that it was saved from.
	for _, dir := range []string{options.StateDir, saved} {
		if err := Purge(ctx, dir); err != nil {
			t.Fatal(err)
		}
	}
	if err := Stop(ctx, loaded[0].StateDir); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(ctx, loaded[0]); err != nil {
		t.Fatal(err)
	}
	waitForSSH(t, loaded[0].StateDir)
	for _, o := range loaded {
		if err := Purge(ctx, o.StateDir); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{options.StateDir, saved, loaded[0].StateDir, loaded[1].StateDir} {
		for _, args := range [][]string{
			{"ps", "-aq", "--filter", "name=ingot-" + folder(dir).cloudID()}, {"network", "ls", "-q", "--filter", "name=ingot-" + folder(dir).cloudID()},
			{"images", "-aq", "--filter", "label=" + "ingot.cloud=" + folder(dir).cloudID()}, {"images", "-q", "ingot-" + folder(dir).cloudID() + "/*"},
		} {
			if out, err := exec.Command("docker", args...).Output(); err != nil || len(out) > 0 {
				t.Errorf("docker %q: %q, %v", args, out, err)
			}
		}
	}
}

// hostKey is the host key of the machine whose sshd answers at an address.
func hostKey(t *testing.T, address string) string {
	t.Helper()
	out, err := exec.Command("ssh-keyscan", "-t", "ed25519", address).Output()
	_, key, ok := strings.Cut(strings.TrimSpace(string(out)), " ")
	if err != nil || !ok {
		t.Fatalf("ssh-keyscan: %q, %v", out, err)
	}
	return key
}

// dockerOptions returns the options of a cloud on Docker that the test binary serves, and purges it with the test.
func dockerOptions(t *testing.T) Options {
	dir := filepath.Join(t.TempDir(), "cloud")
	t.Cleanup(func() {
		if err := Purge(context.Background(), dir); err != nil {
			t.Error(err)
		}
	})
	return Options{StateDir: dir, Region: "us-west-1", Command: []string{os.Args[0], serveDocker, dir}}
}

// debianImage is the ID of the image that everything is made from.
func debianImage(t *testing.T, c Connection) string {
	t.Helper()
	debian, err := parameters(c).GetParameter(t.Context(), &ssm.GetParameterInput{Name: aws.String("/aws/service/debian/release/13/latest/amd64")})
	if err != nil {
		t.Fatal(err)
	}
	return aws.ToString(debian.Parameter.Value)
}

// runInstance runs an instance that can be reached with SSH.
func runInstance(t *testing.T, c Connection) {
	t.Helper()
	ctx := t.Context()
	client := ec2.New(ec2.Options{
		Region: c.Region, BaseEndpoint: &c.Endpoint,
		Credentials: credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, ""),
	})
	group, err := client.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{
		GroupName: aws.String("ssh"), Description: aws.String("SSH from anywhere"),
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{
		GroupId: group.GroupId, IpPermissions: []types.IpPermission{{
			IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22),
			IpRanges: []types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.RunInstances(ctx, &ec2.RunInstancesInput{
		ImageId: aws.String(debianImage(t, c)), InstanceType: types.InstanceTypeT3Micro, MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		SecurityGroupIds: []string{aws.ToString(group.GroupId)},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// waitForSSH waits until the cloud's one machine answers with SSH's banner at its public address.
func waitForSSH(t *testing.T, dir string) MachineStatus {
	t.Helper()
	begin := time.Now()
	for {
		status, err := Status(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		if len(status.Machines) == 1 && status.Machines[0].PublicAddress != "" && banner(status.Machines[0].PublicAddress) {
			t.Logf("SSH after %s", time.Since(begin))
			return status.Machines[0]
		}
		if time.Since(begin) > time.Minute {
			t.Fatalf("no SSH: %+v", status)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func banner(host string) bool {
	conn, err := net.DialTimeout("tcp", net.JoinHostPort(host, "22"), time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(time.Second))
	n, _ := conn.Read(make([]byte, 4))
	return n == 4
}
