//go:build mage

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/ingot-build/ingot/internal/awsenv"
	"github.com/ingot-build/ingot/internal/wait"
	"github.com/ingot-build/ingot/pkg/packer"
	"github.com/ingot-build/ingot/pkg/progress"
	"github.com/ingot-build/ingot/pkg/provision"
)

// paces are those of AWS that the local cloud knows.
var paces = []string{"aws-best", "aws"}

// plainPolling is how often Packer looks by default, and the AWS CLI: every 15 s.
const plainPolling = 15 * time.Second

// plainName names what the release without Ingot has of its own.
const plainName = "plain"

// benchPace has the local cloud take as long as AWS, and releases with prod, and with Packer and an instance refresh as they come.
func (c *chores) benchPace(ctx context.Context) (text string, err error) {
	stage := progress.Start(ctx, "measure releases at AWS's pace")
	defer stage.End(&err)
	b, err := c.newBenchCloud(ctx, stage)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, b.end(context.WithoutCancel(ctx))) }()
	plain, err := b.newPlain(ctx, stage)
	if err != nil {
		return "", err
	}
	var rows []paceRow
	for n, pace := range paces {
		if err := b.target(ctx, "local:fault", "pace="+pace); err != nil {
			return "", err
		}
		row := paceRow{pace: pace}
		stage.Update("%s: prod", pace)
		if row.ours, err = b.release(ctx, 2*n+1); err != nil {
			return "", err
		}
		if row.plain, err = plain.release(ctx, func(step string) { stage.Update("%s: plain: %s", pace, step) }, 2*n+2); err != nil {
			return "", err
		}
		rows = append(rows, row)
		progress.Note(ctx, "%s", strings.TrimSpace(paceTable([]paceRow{row})))
	}
	return paceSection(rows), nil
}

// paceRow is a release at one pace, with Ingot and without.
type paceRow struct {
	pace        string
	ours, plain split
}

func paceSection(rows []paceRow) string {
	return "Made by `go tool mage bench -only=pace`, on a local cloud that takes as long as AWS (`mage local:fault pace=aws`, and `pace=aws-best`:\n" +
		"the longest and the shortest times that are published or plausible): `prod` after a change of the service, with CodeDeploy's gate\n" +
		"and the settings that Ingot comes with; and, of the same templates and the same two instances, what people do today: `packer build`\n" +
		"with Packer's defaults (t3.micro, a look every 15 s), a launch template version, and `start-instance-refresh` without preferences on a\n" +
		"group and a target group with AWS's defaults (300 s of grace and warm-up, 90 % stay healthy, a check every 30 s, 300 s of draining).\n" +
		"Goal: at most half of their time.\n\n" + paceTable(rows) +
		"\nWhat bounds ours: Packer waits for a boot, for its machine to stop, for the snapshot and, as the last of it, for the machine's end; the\n" +
		"refresh for the boots of two machines at a time and their warm-up. What bounds theirs: 300 s of warm-up, and after them 300 s in which\n" +
		"the last machine drains.\n"
}

func paceTable(rows []paceRow) string {
	var text strings.Builder
	text.WriteString("| pace | release with | Packer | instance refresh | deployment | the rest | in total | of theirs |\n|---|---|--:|--:|--:|--:|--:|--:|\n")
	for _, row := range rows {
		for _, s := range []struct {
			name string
			split
		}{{"`mage prod`", row.ours}, {"Packer and a refresh as they come", row.plain}} {
			fmt.Fprintf(&text, "| %s | %s | %.0f s | %.0f s | %.0f s | %.0f s | %.0f s | %.0f %% |\n", row.pace, s.name, s.packer.Seconds(),
				s.refresh.Seconds(), s.deployment.Seconds(), s.ours().Seconds(), s.total.Seconds(), 100*s.total.Seconds()/row.plain.total.Seconds())
		}
	}
	return text.String()
}

// plain is a fleet beside the stack's, in the same network and with the same images, as people make one who do not use Ingot.
type plain struct {
	cloud    *benchCloud
	packer   *packer.Packer
	groups   *autoscaling.Client
	ec2      *ec2.Client
	port     int
	health   string
	template string
}

func (b *benchCloud) newPlain(ctx context.Context, stage *progress.Stage) (*plain, error) {
	stage.Update("make a fleet without Ingot")
	p := &plain{
		cloud: b, groups: autoscaling.NewFromConfig(b.cfg), ec2: ec2.NewFromConfig(b.cfg), port: b.service.Port, health: b.service.Health,
	}
	var err error
	if p.packer, err = packer.Find(ctx, nil, ""); err != nil {
		return nil, err
	}
	groups, err := p.groups.DescribeAutoScalingGroups(ctx, &autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{b.app}})
	if err != nil {
		return nil, err
	}
	if len(groups.AutoScalingGroups) != 1 {
		return nil, fmt.Errorf("there is no Auto Scaling group %q", b.app)
	}
	theirs := groups.AutoScalingGroups[0]
	version, err := p.ec2.DescribeLaunchTemplateVersions(ctx, &ec2.DescribeLaunchTemplateVersionsInput{
		LaunchTemplateName: &b.app, Versions: []string{"$Default"},
	})
	if err != nil {
		return nil, err
	}
	data := version.LaunchTemplateVersions[0].LaunchTemplateData
	made, err := p.ec2.CreateLaunchTemplate(ctx, &ec2.CreateLaunchTemplateInput{
		LaunchTemplateName: aws.String(plainName), LaunchTemplateData: &ec2types.RequestLaunchTemplateData{
			ImageId: data.ImageId, InstanceType: ec2types.InstanceTypeT3Micro, SecurityGroupIds: data.SecurityGroupIds,
		},
	})
	if err != nil {
		return nil, err
	}
	p.template = *made.LaunchTemplate.LaunchTemplateId
	target, err := p.newTargetGroup(ctx, theirs.TargetGroupARNs)
	if err != nil {
		return nil, err
	}
	_, err = p.groups.CreateAutoScalingGroup(ctx, &autoscaling.CreateAutoScalingGroupInput{
		AutoScalingGroupName: aws.String(plainName), MinSize: aws.Int32(2), MaxSize: aws.Int32(4), DesiredCapacity: aws.Int32(2),
		LaunchTemplate:    &asgtypes.LaunchTemplateSpecification{LaunchTemplateId: &p.template, Version: aws.String("$Latest")},
		VPCZoneIdentifier: theirs.VPCZoneIdentifier, TargetGroupARNs: []string{target},
		HealthCheckType: aws.String("ELB"), HealthCheckGracePeriod: aws.Int32(300), // what the console offers
	})
	if err != nil {
		return nil, err
	}
	return p, p.awaitInService(ctx)
}

// newTargetGroup makes a target group with AWS's defaults, at a port of its own of the stack's load balancer.
func (p *plain) newTargetGroup(ctx context.Context, stacks []string) (arn string, err error) {
	balancers := elasticloadbalancingv2.NewFromConfig(p.cloud.cfg)
	stack, err := balancers.DescribeTargetGroups(ctx, &elasticloadbalancingv2.DescribeTargetGroupsInput{TargetGroupArns: stacks})
	if err != nil {
		return "", err
	}
	made, err := balancers.CreateTargetGroup(ctx, &elasticloadbalancingv2.CreateTargetGroupInput{
		Name: aws.String(plainName), Protocol: elbtypes.ProtocolEnumHttp, Port: aws.Int32(int32(p.port)), VpcId: stack.TargetGroups[0].VpcId,
		HealthCheckPath: &p.health,
	})
	if err != nil {
		return "", err
	}
	arn = *made.TargetGroups[0].TargetGroupArn
	_, err = balancers.CreateListener(ctx, &elasticloadbalancingv2.CreateListenerInput{
		LoadBalancerArn: &stack.TargetGroups[0].LoadBalancerArns[0], Protocol: elbtypes.ProtocolEnumHttp, Port: aws.Int32(8000),
		DefaultActions: []elbtypes.Action{{Type: elbtypes.ActionTypeEnumForward, TargetGroupArn: &arn}},
	})
	return arn, err
}

func (p *plain) awaitInService(ctx context.Context) error {
	for {
		out, err := p.groups.DescribeAutoScalingGroups(ctx, &autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{plainName}})
		if err != nil {
			return err
		}
		n := 0
		for _, i := range out.AutoScalingGroups[0].Instances {
			if i.LifecycleState == asgtypes.LifecycleStateInService {
				n++
			}
		}
		if n == 2 {
			return nil
		}
		if err := wait.For(ctx, time.Second); err != nil {
			return err
		}
	}
}

// release bakes and refreshes as Packer, EC2 Auto Scaling and the AWS CLI do by default.
func (p *plain) release(ctx context.Context, say func(step string), n int) (s split, err error) {
	if err := p.cloud.change(n); err != nil {
		return s, err
	}
	begin := time.Now()
	image, err := p.bake(ctx, say, n)
	if err != nil {
		return s, err
	}
	s.packer = time.Since(begin)
	say("instance refresh")
	_, err = p.ec2.CreateLaunchTemplateVersion(ctx, &ec2.CreateLaunchTemplateVersionInput{
		LaunchTemplateId: &p.template, SourceVersion: aws.String("$Latest"), LaunchTemplateData: &ec2types.RequestLaunchTemplateData{ImageId: &image},
	})
	if err != nil {
		return s, err
	}
	if _, err := p.groups.StartInstanceRefresh(ctx, &autoscaling.StartInstanceRefreshInput{AutoScalingGroupName: aws.String(plainName)}); err != nil {
		return s, err
	}
	for {
		out, err := p.groups.DescribeInstanceRefreshes(ctx, &autoscaling.DescribeInstanceRefreshesInput{AutoScalingGroupName: aws.String(plainName)})
		if err != nil {
			return s, err
		}
		newest := out.InstanceRefreshes[0]
		if newest.EndTime != nil {
			s.total, s.refresh = time.Since(begin), newest.EndTime.Sub(*newest.StartTime)
			if newest.Status != asgtypes.InstanceRefreshStatusSuccessful {
				return s, fmt.Errorf("the instance refresh is %s: %s", newest.Status, aws.ToString(newest.StatusReason))
			}
			return s, nil
		}
		say(fmt.Sprintf("instance refresh: %d %%", aws.ToInt32(newest.PercentageComplete)))
		if err := wait.For(ctx, plainPolling); err != nil {
			return s, err
		}
	}
}

// bake bakes with the repository's templates and Packer's defaults.
func (p *plain) bake(ctx context.Context, say func(step string), n int) (image string, err error) {
	dir := p.cloud.dir
	bundle, err := provision.Load(ctx, provision.App, provision.Options{
		Dir: filepath.Join(dir, "provision"), Source: filepath.Join(dir, p.cloud.service.Source),
	})
	if err != nil {
		return "", err
	}
	folder := filepath.Join(dir, folder, fmt.Sprintf("%s-%d", plainName, n))
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	archive, err := os.Create(filepath.Join(folder, "archive.tar.gz"))
	if err != nil {
		return "", err
	}
	if err := errors.Join(bundle.Archive(archive), archive.Close()); err != nil {
		return "", err
	}
	base, err := p.cloud.line.BakeBase(ctx) // which there is
	if err != nil {
		return "", err
	}
	env, stop, err := awsenv.Share(ctx, p.cloud.cfg)
	if err != nil {
		return "", err
	}
	defer stop()
	name := fmt.Sprintf("%s-%d", plainName, n)
	artifact, err := p.packer.Build(ctx, packer.Build{
		Templates: os.DirFS(filepath.Join(dir, "packer")), Name: string(provision.App), Folder: folder, Env: env, Progress: say,
		Variables: packer.Variables{
			Region: p.cloud.cfg.Region, Endpoint: aws.ToString(p.cloud.cfg.BaseEndpoint), SourceAMI: base.ID, RootDevice: base.RootDevice,
			Encrypted: true, PollingDelay: int(plainPolling / time.Second), AMIName: name, Run: name, Archive: archive.Name(),
			Inputs: map[string]string{"PORT": fmt.Sprint(p.port), "HEALTH": p.health, "RELEASE": name, "FINGERPRINT": bundle.Fingerprint(nil)},
		},
	})
	return artifact.AMIs[p.cloud.cfg.Region], err
}
