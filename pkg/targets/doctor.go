package targets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"

	"github.com/magefile/mage/mg"

	"github.com/ingot-build/ingot/pkg/doctor"
	"github.com/ingot-build/ingot/pkg/machine"
	"github.com/ingot-build/ingot/pkg/packer"
	"github.com/ingot-build/ingot/pkg/pipeline"
	"github.com/ingot-build/ingot/pkg/progress"
	"github.com/ingot-build/ingot/pkg/provision"
)

// Doctor looks for what would stop a release.
//
// Credentials, network, quota, zones, keys, roles, CodeDeploy, the release, and this machine's tools, each with what to do
// about it. Changes nothing. Exits with 3 where something would stop a release.
func Doctor(ctx context.Context,
	json *bool, // print JSON
) error {
	return run(ctx, func(ctx context.Context, p *project) error {
		results := p.examine(ctx)
		if err := show(p.out, json, results, printExamination); err != nil {
			return err
		}
		return health(results)
	})
}

// examination is a result in the words of the targets.
type examination struct {
	doctor.Result
	Remedy string `json:"remedy,omitempty"`
}

// examine runs every check. Without credentials there is only this machine to look at.
func (p *project) examine(ctx context.Context) []examination {
	stage := progress.Start(ctx, "look at the account and this machine")
	checks := doctor.Machine(p.tools())
	a, err := p.signIn(ctx)
	if err == nil {
		size := pipeline.FleetSize{InstanceType: p.Fleet.InstanceType, Min: p.Fleet.Min, Max: p.Fleet.Max}
		checks = append(p.pipeline(a).Checks(size), checks...)
	}
	results := doctor.Run(ctx, checks)
	if err != nil {
		refused := doctor.Result{Check: "credentials", Level: doctor.Stop, Finding: oneLine(err), Remedy: doctor.SignIn, Err: err}
		results = append([]doctor.Result{refused}, results...)
	}
	stage.Done("%d checks", len(results))
	var all []examination
	for _, r := range results {
		all = append(all, examination{r, hint(words(r))})
	}
	return all
}

// tools are the programs that the targets run, and Docker.
func (p *project) tools() []doctor.Tool {
	return []doctor.Tool{
		{Name: "Packer", For: "mage base and mage app", Needed: true, Find: func(ctx context.Context) (string, error) {
			found, err := packer.Find(ctx, p.runner, "")
			if err != nil {
				return "", err
			}
			return fmt.Sprintf("%s %s", found.Path, found.Version), nil
		}},
		{Name: "Terraform", For: "mage infra:apply", Find: func(context.Context) (string, error) {
			path, err := exec.LookPath("terraform")
			if err != nil {
				return "not on PATH; mage infra:apply downloads it", nil //nolint:nilerr // that is all right
			}
			return path, nil
		}},
		{Name: "Docker", For: "mage dev and mage local alone", Find: func(ctx context.Context) (string, error) {
			engine, err := machine.Connect(ctx)
			if err != nil {
				return "", err
			}
			defer engine.Close()
			return engine.About(), nil
		}},
	}
}

// words are what there is to do about a result.
func words(r doctor.Result) string {
	if e, ok := errors.AsType[*provision.AgentDigestError](r.Err); ok {
		return "look at the package, then record it, and commit that: " + e.Command()
	}
	return map[doctor.Remedy]string{
		doctor.SignIn:         "aws configure, or aws sso login; to work on this machine alone: mage local TARGET",
		doctor.RenewSession:   "a profile that renews itself: aws login, aws sso login, or a role in ~/.aws/config",
		doctor.LeaveRoot:      "a user or a role of its own: aws configure sso",
		doctor.SetSubnet:      "image { subnet } in ingot.hcl, or mage infra:apply, which makes one",
		doctor.RaiseQuota:     "aws service-quotas request-service-quota-increase --service-code ec2 --quota-code L-1216C47A --desired-value N, or fewer or smaller instances in ingot.hcl",
		doctor.GrantKey:       oneLine(errors.New(keyRemedy)),
		doctor.AllowMetadata:  "Packer 1.7 or newer, or: aws ec2 modify-instance-metadata-defaults --http-endpoint enabled --http-tokens required",
		doctor.ChooseType:     "another fleet { instance_type } in ingot.hcl",
		doctor.Apply:          "mage infra:apply",
		doctor.Release:        "mage prod, or mage rollback",
		doctor.Install:        "mage setup",
		doctor.SetClock:       setClock,
		doctor.AskForTheRight: "the right to ask, or nothing: a release does not need it",
	}[r.Remedy]
}

func printExamination(w io.Writer, results []examination) error {
	t := table(w)
	fmt.Fprintln(t, "RESULT\tCHECK\tFINDING")
	for _, r := range results {
		fmt.Fprintf(t, "%s\t%s\t%s\n", r.Level, r.Check, r.Finding)
		if r.Remedy != "" {
			fmt.Fprintf(t, "\t\t→ %s\n", r.Remedy)
		}
	}
	return t.Flush()
}

// health is an error, and an exit code of its own, where something would stop a release.
func health(results []examination) error {
	var stopping []string
	for _, r := range results {
		if r.Level == doctor.Stop {
			stopping = append(stopping, r.Check)
		}
	}
	if len(stopping) == 0 {
		return nil
	}
	return mg.Fatal(disagreement, "a release would stop at: "+strings.Join(stopping, ", "))
}
