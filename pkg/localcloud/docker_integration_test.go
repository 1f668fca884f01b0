//go:build integration

package localcloud

import (
	"context"
	"net"
	"os"
	"path/filepath"
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
	dir := filepath.Join(t.TempDir(), "cloud")
	t.Setenv(serveVariable, dir)
	t.Setenv(dockerVariable, "1")
	t.Cleanup(func() {
		if err := Purge(context.Background(), dir); err != nil {
			t.Error(err)
		}
	})
	options := Options{StateDir: dir, Region: "us-west-1", Command: []string{os.Args[0]}}
	begin := time.Now()
	c, err := Start(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("started after %s", time.Since(begin))
	client := ec2.New(ec2.Options{
		Region: c.Region, BaseEndpoint: &c.Endpoint,
		Credentials: credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, ""),
	})
	debian, err := parameters(c).GetParameter(ctx, &ssm.GetParameterInput{Name: aws.String("/aws/service/debian/release/13/latest/amd64")})
	if err != nil {
		t.Fatal(err)
	}
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
		ImageId: debian.Parameter.Value, InstanceType: types.InstanceTypeT3Micro, MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		SecurityGroupIds: []string{aws.ToString(group.GroupId)},
	})
	if err != nil {
		t.Fatal(err)
	}
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
