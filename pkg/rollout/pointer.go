package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/ingot-build/ingot/pkg/progress"
)

type parameterAPI interface {
	GetParameter(context.Context, *ssm.GetParameterInput, ...func(*ssm.Options)) (*ssm.GetParameterOutput, error)
	PutParameter(context.Context, *ssm.PutParameterInput, ...func(*ssm.Options)) (*ssm.PutParameterOutput, error)
	GetParameterHistory(context.Context, *ssm.GetParameterHistoryInput, ...func(*ssm.Options)) (*ssm.GetParameterHistoryOutput, error)
}

// Pointer is the value of the SSM parameter that names the current release.
type Pointer struct {
	Release         string    `json:"release"`
	AMIID           string    `json:"ami"`
	TemplateVersion int64     `json:"template_version"`
	Commit          string    `json:"commit,omitempty"`
	Since           time.Time `json:"since"`              // when the release was seen to serve
	By              string    `json:"by,omitempty"`       // who rolled it out
	Rollback        bool      `json:"rollback,omitempty"` // it came back by a rollback
}

func (p Pointer) release() Release {
	return Release{Name: p.Release, AMIID: p.AMIID, Commit: p.Commit}
}

// ParameterName is the SSM parameter that points to an application's current release. Its history is the release
// history.
func ParameterName(app string) string { return "/ingot/" + app + "/release" }

// noteName is the SSM parameter that says who started the newest instance refresh. The group cannot say it: its tags are
// Terraform's.
func noteName(app string) string { return "/ingot/" + app + "/rollout" }

// note says who started an instance refresh, and to which release.
type note struct {
	Refresh string    `json:"refresh"`
	Release string    `json:"release"`
	By      string    `json:"by"`
	Since   time.Time `json:"since"`
}

// Current returns the current release, and false where there has been none.
func (r *Roller) Current(ctx context.Context) (Pointer, bool, error) {
	var p Pointer
	found, err := r.get(ctx, ParameterName(r.options.App), &p)
	return p, found, err
}

// Releases returns the release history, the current one first.
func (r *Roller) Releases(ctx context.Context) ([]Pointer, error) {
	name := ParameterName(r.options.App)
	var all []Pointer
	in := &ssm.GetParameterHistoryInput{Name: aws.String(name)}
	for {
		out, err := r.Parameters.GetParameterHistory(ctx, in)
		if _, none := errors.AsType[*ssmtypes.ParameterNotFound](err); none {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("get history of parameter %q: %w", name, err)
		}
		for _, h := range out.Parameters {
			var p Pointer
			if err := decode(name, aws.ToString(h.Value), &p); err != nil {
				return nil, err
			}
			// A retry of a request whose answer was lost has put it twice.
			if n := len(all); n == 0 || all[n-1] != p {
				all = append(all, p)
			}
		}
		if aws.ToString(out.NextToken) == "" {
			slices.Reverse(all)
			return all, nil
		}
		in.NextToken = out.NextToken
	}
}

// point makes a verified release the current one: first the launch template's default version, which only decides what
// an instance started by hand would be, then the pointer, which says that all is done.
func (r *Roller) point(ctx context.Context, s step) error {
	_, err := r.Templates.ModifyLaunchTemplate(ctx, &ec2.ModifyLaunchTemplateInput{
		LaunchTemplateId: aws.String(s.fleet.TemplateID), DefaultVersion: aws.String(strconv.FormatInt(s.version, 10)),
	})
	if err != nil {
		return fmt.Errorf("set default version of launch template %q to %d: %w", s.fleet.TemplateID, s.version, err)
	}
	current, ok, err := r.Current(ctx)
	if err != nil {
		return err
	}
	if ok && current.Release == s.release.Name && current.TemplateVersion == s.version {
		return nil
	}
	return r.put(ctx, ParameterName(r.options.App), "the current release of "+r.options.App+"; its history is the release history", Pointer{
		Release: s.release.Name, AMIID: s.release.AMIID, TemplateVersion: s.version, Commit: s.release.Commit,
		Since: time.Now().UTC().Truncate(time.Second), By: r.options.By, Rollback: s.back,
	})
}

// sign notes who started a refresh. It only helps whoever meets the refresh, so that a refusal ends nothing.
func (r *Roller) sign(ctx context.Context, refresh string, release Release) {
	if r.options.By == "" {
		return
	}
	err := r.put(ctx, noteName(r.options.App), "who started the newest instance refresh of "+r.options.App, note{
		Refresh: refresh, Release: release.Name, By: r.options.By, Since: time.Now().UTC().Truncate(time.Second),
	})
	if err != nil && ctx.Err() == nil {
		progress.Note(ctx, "note who rolls out: %v", err)
	}
}

// signed adds to a refresh who started it, as far as that is noted.
func (r *Roller) signed(ctx context.Context, refresh Refresh) (Refresh, error) {
	var n note
	found, err := r.get(ctx, noteName(r.options.App), &n)
	if found && n.Refresh == refresh.ID {
		refresh.By, refresh.Release = n.By, n.Release
	}
	return refresh, err
}

// get reads a parameter, and returns false where there is none.
func (r *Roller) get(ctx context.Context, name string, into any) (bool, error) {
	out, err := r.Parameters.GetParameter(ctx, &ssm.GetParameterInput{Name: aws.String(name)})
	if _, none := errors.AsType[*ssmtypes.ParameterNotFound](err); none {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("get parameter %q: %w", name, err)
	}
	err = decode(name, aws.ToString(out.Parameter.Value), into)
	return err == nil, err
}

func decode(name, value string, into any) error {
	if err := json.Unmarshal([]byte(value), into); err != nil {
		return fmt.Errorf("parse parameter %q, which is %q: %w", name, value, err)
	}
	return nil
}

func (r *Roller) put(ctx context.Context, name, description string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	_, err = r.Parameters.PutParameter(ctx, &ssm.PutParameterInput{
		Name: aws.String(name), Value: aws.String(string(data)), Type: ssmtypes.ParameterTypeString, Overwrite: aws.Bool(true),
		Description: aws.String(description),
	})
	if err != nil {
		return fmt.Errorf("put parameter %q: %w", name, err)
	}
	return nil
}
