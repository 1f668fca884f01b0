package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
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
	Since           time.Time `json:"since"` // when the release was seen to serve
}

// ParameterName is the SSM parameter that points to an application's current release. Its history is the release
// history.
func ParameterName(app string) string { return "/ingot/" + app + "/release" }

// Current returns the current release, and false where there has been none.
func (r *Roller) Current(ctx context.Context) (Pointer, bool, error) {
	name := ParameterName(r.options.App)
	out, err := r.Parameters.GetParameter(ctx, &ssm.GetParameterInput{Name: aws.String(name)})
	if _, none := errors.AsType[*ssmtypes.ParameterNotFound](err); none {
		return Pointer{}, false, nil
	}
	if err != nil {
		return Pointer{}, false, fmt.Errorf("get parameter %q: %w", name, err)
	}
	p, err := parsePointer(aws.ToString(out.Parameter.Value))
	return p, err == nil, err
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
			p, err := parsePointer(aws.ToString(h.Value))
			if err != nil {
				return nil, err
			}
			all = append([]Pointer{p}, all...)
		}
		if aws.ToString(out.NextToken) == "" {
			return all, nil
		}
		in.NextToken = out.NextToken
	}
}

func parsePointer(value string) (Pointer, error) {
	var p Pointer
	if err := json.Unmarshal([]byte(value), &p); err != nil {
		return Pointer{}, fmt.Errorf("parse release pointer %q: %w", value, err)
	}
	return p, nil
}

// point makes a verified release the current one: first the launch template's default version, which only decides what
// an instance started by hand would be, then the pointer, which says that all is done.
func (r *Roller) point(ctx context.Context, templateID string, version int64, release Release) error {
	_, err := r.Templates.ModifyLaunchTemplate(ctx, &ec2.ModifyLaunchTemplateInput{
		LaunchTemplateId: aws.String(templateID), DefaultVersion: aws.String(strconv.FormatInt(version, 10)),
	})
	if err != nil {
		return fmt.Errorf("set default version of launch template %q to %d: %w", templateID, version, err)
	}
	current, ok, err := r.Current(ctx)
	if err != nil {
		return err
	}
	if ok && current.Release == release.Name && current.TemplateVersion == version {
		return nil
	}
	value, err := json.Marshal(Pointer{Release: release.Name, AMIID: release.AMIID, TemplateVersion: version, Commit: release.Commit, Since: time.Now().UTC().Truncate(time.Second)})
	if err != nil {
		return err
	}
	name := ParameterName(r.options.App)
	_, err = r.Parameters.PutParameter(ctx, &ssm.PutParameterInput{
		Name: aws.String(name), Value: aws.String(string(value)), Type: ssmtypes.ParameterTypeString, Overwrite: aws.Bool(true),
		Description: aws.String("the current release of " + r.options.App + "; its history is the release history"),
	})
	if err != nil {
		return fmt.Errorf("put parameter %q: %w", name, err)
	}
	return nil
}
