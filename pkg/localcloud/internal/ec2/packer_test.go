package ec2

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestPackerSequence makes the calls of a stock Packer 1.6.6 build, as it sends them.
func TestPackerSequence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t)
		c.compute.CreateDelay, c.compute.StopDelay, c.compute.CommitDelay = 2*time.Second, time.Second, 3*time.Second

		if body := c.ask("DescribeImages", "Filter.1.Name=name\nFilter.1.Value.1=hello-base-1"); strings.Contains(body, "<imageId>") {
			t.Fatalf("an image before the first build: %s", body)
		}
		source := between(t, c.ask("DescribeImages", `
			Filter.1.Name=name
			Filter.1.Value.1=debian-13-amd64-*
			Filter.2.Name=virtualization-type
			Filter.2.Value.1=hvm
			Filter.3.Name=root-device-type
			Filter.3.Value.1=ebs
			Owner.1=136693071363`), "<imageId>", "</imageId>")
		key := c.ask("CreateKeyPair", "KeyName=packer_1")
		if !strings.Contains(key, "-----BEGIN RSA PRIVATE KEY-----") {
			t.Errorf("no key in %s", key)
		}
		group := between(t, c.ask("CreateSecurityGroup", "GroupName=packer_1\nGroupDescription=Temporary group for Packer"), "<groupId>", "</groupId>")
		c.ask("DescribeSecurityGroups", "GroupId.1="+group)
		c.ask("AuthorizeSecurityGroupIngress", "GroupId="+group+`
			IpPermissions.1.FromPort=22
			IpPermissions.1.IpProtocol=tcp
			IpPermissions.1.IpRanges.1.CidrIp=127.0.0.1/32
			IpPermissions.1.ToPort=22`)
		run := `
			BlockDeviceMapping.1.DeviceName=/dev/xvda
			BlockDeviceMapping.1.Ebs.DeleteOnTermination=true
			BlockDeviceMapping.1.Ebs.Encrypted=true
			BlockDeviceMapping.1.Ebs.VolumeSize=10
			BlockDeviceMapping.1.Ebs.VolumeType=gp3
			ClientToken=token
			EbsOptimized=false
			IamInstanceProfile.Name=
			ImageId=` + source + `
			InstanceInitiatedShutdownBehavior=stop
			InstanceType=t3.micro
			KeyName=packer_1
			MaxCount=1
			MinCount=1
			Placement.AvailabilityZone=
			SecurityGroupId.1=` + group + `
			TagSpecification.1.ResourceType=instance
			TagSpecification.1.Tag.1.Key=Name
			TagSpecification.1.Tag.1.Value=Packer Builder
			TagSpecification.2.ResourceType=volume
			TagSpecification.2.Tag.1.Key=ingot:run
			TagSpecification.2.Tag.1.Value=r1`
		instance := between(t, c.ask("RunInstances", run), "<instanceId>", "</instanceId>")
		if again := between(t, c.ask("RunInstances", run), "<instanceId>", "</instanceId>"); again != instance {
			t.Errorf("the same client token launched %s, then %s", instance, again)
		}
		state := func() string {
			return between(t, c.ask("DescribeInstances", "InstanceId.1="+instance), "<instanceState>", "</instanceState>")
		}
		if got := state(); !strings.Contains(got, "pending") {
			t.Errorf("state at first %s", got)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if got := state(); !strings.Contains(got, "running") {
			t.Errorf("state after the boot %s", got)
		}
		described := c.ask("DescribeInstances", "InstanceId.1="+instance)
		if got := between(t, described, "<ipAddress>", "</ipAddress>"); got != "127.80.0.2" {
			t.Errorf("public address %s", got)
		}
		if got := c.ports.list(); len(got) != 1 || got[0] != "127.80.0.2:22" {
			t.Errorf("open ports %v", got)
		}
		if spec, _ := c.compute.Spec(instance); len(spec.AuthorizedKeys) != 1 || !strings.HasPrefix(spec.AuthorizedKeys[0], "ssh-rsa ") {
			t.Errorf("the machine's keys %v", spec.AuthorizedKeys)
		}
		c.ask("StopInstances", "InstanceId.1="+instance)
		if got := c.ports.list(); len(got) != 0 {
			t.Errorf("open ports of a stopping instance %v", got)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := state(); !strings.Contains(got, "stopped") {
			t.Errorf("state after the stop %s", got)
		}
		image := between(t, c.ask("CreateImage", "InstanceId="+instance+"\nName=hello-base-1\nBlockDeviceMapping.1.DeviceName=/dev/xvda\nBlockDeviceMapping.1.Ebs.VolumeSize=10"), "<imageId>", "</imageId>")
		if got := c.ask("DescribeImages", "ImageId.1="+image); !strings.Contains(got, "<imageState>pending</imageState>") {
			t.Errorf("image at first %s", got)
		}
		time.Sleep(4 * time.Second)
		synctest.Wait()
		made := c.ask("DescribeImages", "ImageId.1="+image)
		for _, want := range []string{
			"<imageState>available</imageState>", "<volumeSize>10</volumeSize>", "<encrypted>true</encrypted>", "<imageOwnerId>000000000001</imageOwnerId>",
			"<sourceInstanceId>" + instance, "<rootDeviceName>/dev/xvda</rootDeviceName>",
		} {
			if !strings.Contains(made, want) {
				t.Errorf("no %s in %s", want, made)
			}
		}
		snapshot := between(t, made, "<snapshotId>", "</snapshotId>")
		c.ask("ModifyImageAttribute", "ImageId="+image+"\nDescription.Value=the base")
		c.ask("CreateTags", "ResourceId.1="+image+"\nResourceId.2="+snapshot+"\nTag.1.Key=ingot:image\nTag.1.Value=base")
		c.ask("TerminateInstances", "InstanceId.1="+instance)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := state(); !strings.Contains(got, "terminated") {
			t.Errorf("state in the end %s", got)
		}
		if got := c.ask("DescribeVolumes", "Filter.1.Name=attachment.instance-id\nFilter.1.Value.1="+instance); strings.Contains(got, "vol-") {
			t.Errorf("a volume is left: %s", got)
		}
		c.ask("DeleteSecurityGroup", "GroupId="+group)
		c.ask("DeleteKeyPair", "KeyName=packer_1")

		if got := c.ask("DescribeImages", "Owner.1=self\nFilter.1.Name=tag:ingot:image\nFilter.1.Value.1=base"); !strings.Contains(got, "<description>the base</description>") {
			t.Errorf("the image by its tag: %s", got)
		}
		if len(c.pool.taken) != 0 {
			t.Errorf("addresses left: %v", c.pool.taken)
		}
		time.Sleep(terminatedFor)
		if status, body := c.query("DescribeInstances", "InstanceId.1="+instance); status != 400 || !strings.Contains(body, "InvalidInstanceID.NotFound") {
			t.Errorf("the instance an hour later: %d %s", status, body)
		}
	})
}
