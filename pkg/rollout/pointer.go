package rollout

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/ingot-build/ingot/internal/lag"
	"github.com/ingot-build/ingot/pkg/progress"
)

type parameterAPI interface {
	GetParameter(context.Context, *ssm.GetParameterInput, ...func(*ssm.Options)) (*ssm.GetParameterOutput, error)
	PutParameter(context.Context, *ssm.PutParameterInput, ...func(*ssm.Options)) (*ssm.PutParameterOutput, error)
	GetParameterHistory(context.Context, *ssm.GetParameterHistoryInput, ...func(*ssm.Options)) (*ssm.GetParameterHistoryOutput, error)
}

// Pointer is the value of the SSM parameter that names the current release.
type Pointer struct {
	Release         string          `json:"release"`
	AMIID           string          `json:"ami"`
	TemplateVersion TemplateVersion `json:"template_version"`
	Commit          string          `json:"commit,omitempty"`
	Since           time.Time       `json:"since"`              // when the release was seen to serve
	By              string          `json:"by,omitempty"`       // who rolled it out
	Rollback        bool            `json:"rollback,omitempty"` // it came back by a rollback
}

func (p Pointer) release() Release {
	return Release{Name: p.Release, AMIID: p.AMIID, Commit: p.Commit}
}

// ParameterName is the SSM parameter that points to an application's current release. Its history is the release
// history.
func ParameterName(app string) string { return "/ingot/" + app + "/release" }

// starterName is the SSM parameter that says who started the newest instance refresh. The group cannot say it: its tags are
// Terraform's.
func starterName(app string) string { return "/ingot/" + app + "/rollout" }

// starter says who started an instance refresh, and to which release.
type starter struct {
	Refresh string    `json:"refresh"`
	Release string    `json:"release"`
	By      string    `json:"by"`
	Since   time.Time `json:"since"`
}

// Current returns the current release, and false where there has been none. Where the parameter says none, since somebody
// put something else there, it is the last one that its history says; a note of the context's progress names the value.
func (r *Roller) Current(ctx context.Context) (Pointer, bool, error) {
	p, found, _, err := r.current(ctx)
	return p, found, err
}

// current is Current; malformed is not nil where the parameter holds something else than a pointer.
func (r *Roller) current(ctx context.Context) (p Pointer, found bool, malformed *MalformedError, err error) {
	name := ParameterName(r.options.App)
	out, err := r.parameters.GetParameter(ctx, &ssm.GetParameterInput{Name: aws.String(name)})
	if _, none := errors.AsType[*ssmtypes.ParameterNotFound](err); none {
		return p, false, nil, nil
	}
	if err != nil {
		return p, false, nil, fmt.Errorf("get parameter %q: %w", name, err)
	}
	if p, err = parsePointer(aws.ToString(out.Parameter.Value)); err == nil {
		return p, true, nil, nil
	}
	malformed = &MalformedError{Parameter: name, Version: out.Parameter.Version, Value: aws.ToString(out.Parameter.Value), Err: err}
	releases, err := r.Releases(ctx)
	if err != nil || len(releases) == 0 {
		return Pointer{}, false, malformed, err
	}
	return releases[0], true, malformed, nil
}

// parsePointer reads the value of the parameter. Without a release and an image it points nowhere.
func parsePointer(value string) (Pointer, error) {
	var p Pointer
	if err := json.Unmarshal([]byte(value), &p); err != nil {
		return Pointer{}, err
	}
	if p.Release == "" || p.AMIID == "" {
		return Pointer{}, errors.New("it names no release and image")
	}
	return p, nil
}

// Releases returns the release history, the current one first. A value of the parameter that is no pointer is left out, and
// a note of the context's progress names it.
func (r *Roller) Releases(ctx context.Context) ([]Pointer, error) {
	name := ParameterName(r.options.App)
	var history []ssmtypes.ParameterHistory
	pages := ssm.NewGetParameterHistoryPaginator(r.parameters, &ssm.GetParameterHistoryInput{Name: aws.String(name)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if _, none := errors.AsType[*ssmtypes.ParameterNotFound](err); none {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("get history of parameter %q: %w", name, err)
		}
		history = append(history, page.Parameters...)
	}
	// No document says in which order they come.
	slices.SortStableFunc(history, func(a, b ssmtypes.ParameterHistory) int { return cmp.Compare(a.Version, b.Version) })
	var all []Pointer
	for _, h := range history {
		p, err := parsePointer(aws.ToString(h.Value))
		if err != nil {
			progress.Note(ctx, "left out: %v", &MalformedError{Parameter: name, Version: h.Version, Value: aws.ToString(h.Value), Err: err})
			continue
		}
		// A retry of a request whose answer was lost has put it twice.
		if n := len(all); n == 0 || all[n-1] != p {
			all = append(all, p)
		}
	}
	slices.Reverse(all)
	return all, nil
}

// moveCurrent makes a verified release the current one: first the launch template's default version, which only decides
// what an instance started by hand would be, then the pointer, which says that all is done.
func (r *Roller) moveCurrent(ctx context.Context, s step) error {
	_, err := r.templates.ModifyLaunchTemplate(ctx, &ec2.ModifyLaunchTemplateInput{
		LaunchTemplateId: aws.String(s.fleet.TemplateID), DefaultVersion: aws.String(s.version.String()),
	})
	if err != nil {
		return fmt.Errorf("set default version of launch template %q to %s: %w", s.fleet.TemplateID, s.version, err)
	}
	current, ok, malformed, err := r.current(ctx)
	if err != nil {
		return err
	}
	if ok && malformed == nil && current.Release == s.release.Name && current.TemplateVersion == s.version {
		return nil
	}
	defer r.awaitDefault(ctx, s)
	return r.putParameter(ctx, ParameterName(r.options.App), "the current release of "+r.options.App+"; its history is the release history", Pointer{
		Release: s.release.Name, AMIID: s.release.AMIID, TemplateVersion: s.version, Commit: s.release.Commit,
		Since: time.Now().UTC().Truncate(time.Second), By: r.options.By, Rollback: s.back,
	})
}

// awaitDefault waits until the launch template shows the default version that it was given: who asks for the status next would see
// a disagreement. It does not insist, as the release is the current one.
func (r *Roller) awaitDefault(ctx context.Context, s step) {
	_, _ = lag.Read(ctx, func(ctx context.Context) (TemplateVersion, error) {
		return r.defaultVersion(ctx, s.fleet.TemplateID)
	}, func(version TemplateVersion, err error) bool { return err == nil && version != s.version })
}

// noteStarter notes who started a refresh. It only helps whoever meets the refresh, so that a refusal ends nothing.
func (r *Roller) noteStarter(ctx context.Context, refresh string, release Release) {
	if r.options.By == "" {
		return
	}
	err := r.putParameter(ctx, starterName(r.options.App), "who started the newest instance refresh of "+r.options.App, starter{
		Refresh: refresh, Release: release.Name, By: r.options.By, Since: time.Now().UTC().Truncate(time.Second),
	})
	if err != nil && ctx.Err() == nil {
		progress.Note(ctx, "note who rolls out: %v", err)
	}
}

// withStarter adds to a refresh who started it, as far as that is noted.
func (r *Roller) withStarter(ctx context.Context, refresh Refresh) (Refresh, error) {
	name := starterName(r.options.App)
	out, err := r.parameters.GetParameter(ctx, &ssm.GetParameterInput{Name: aws.String(name)})
	if _, none := errors.AsType[*ssmtypes.ParameterNotFound](err); none {
		return refresh, nil
	}
	if err != nil {
		return refresh, fmt.Errorf("get parameter %q: %w", name, err)
	}
	var n starter
	if err := json.Unmarshal([]byte(aws.ToString(out.Parameter.Value)), &n); err == nil && n.Refresh == refresh.ID { // else it tells nothing
		refresh.By, refresh.Release = n.By, n.Release
	}
	return refresh, nil
}

func (r *Roller) putParameter(ctx context.Context, name, description string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	_, err = r.parameters.PutParameter(ctx, &ssm.PutParameterInput{
		Name: aws.String(name), Value: aws.String(string(data)), Type: ssmtypes.ParameterTypeString, Overwrite: aws.Bool(true),
		Description: aws.String(description),
	})
	if err != nil {
		return fmt.Errorf("put parameter %q: %w", name, err)
	}
	return nil
}
