package rollout

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
)

// Status is what runs, what should, and where they differ.
type Status struct {
	Current       *Pointer       `json:"current"` // nil before the first release
	Fleet         Fleet          `json:"fleet"`
	Refresh       *Refresh       `json:"refresh,omitempty"` // the newest one; nil where there has been none
	Template      Template       `json:"template"`
	Disagreements []Disagreement `json:"disagreements"` // empty when all is as it should be
}

// Template is the launch template: what an instance started by hand would be, and what the group launches.
type Template struct {
	ID             string          `json:"id"`
	DefaultVersion TemplateVersion `json:"default_version"`
	DefaultAMIID   string          `json:"default_ami"`
	GroupAMIID     string          `json:"group_ami"` // of the version that the group launches
}

// PointerSubject is the subject of a disagreement about the release pointer: something runs that was never verified. Roll
// a release out.
const PointerSubject = "release pointer"

// Disagreement is something that is not as the current release or the group's launch template version says.
type Disagreement struct {
	Subject string `json:"subject"` // what it is about: PointerSubject, an instance, the launch template, …
	Is      string `json:"is"`
	Want    string `json:"want"`
}

func (d Disagreement) String() string {
	return fmt.Sprintf("%s: %s, but should be %s", d.Subject, d.Is, d.Want)
}

// Status looks, and changes nothing. The error wraps ErrNoFleet where there is no infrastructure.
func (r *Roller) Status(ctx context.Context) (Status, error) {
	fleet, err := r.Fleet(ctx)
	if err != nil {
		return Status{}, err
	}
	s := Status{Fleet: fleet, Template: Template{ID: fleet.TemplateID}}
	current, released, malformed, err := r.current(ctx)
	if err != nil {
		return s, err
	}
	if released {
		s.Current = &current
	}
	refresh, err := r.newestRefresh(ctx, fleet.Group)
	if err != nil {
		return s, err
	}
	if refresh.ID != "" {
		if refresh, err = r.withStarter(ctx, refresh); err != nil {
			return s, err
		}
		if refresh.Release == "" {
			names, err := r.releaseNames(ctx, fleet.TemplateID, map[TemplateVersion]bool{refresh.TemplateVersion: true})
			if err != nil {
				return s, err
			}
			refresh.Release = names[refresh.TemplateVersion]
		}
		s.Refresh = &refresh
	}
	if err := r.describeTemplate(ctx, &s); err != nil {
		return s, err
	}
	s.Disagreements = s.disagreements(r.exempt)
	if malformed != nil {
		s.Disagreements = append(s.Disagreements, Disagreement{PointerSubject, fmt.Sprintf("%q, which is no release", malformed.Value), "the one that is live"})
	}
	return s, nil
}

// describeTemplate fills in what the launch template's versions hold.
func (r *Roller) describeTemplate(ctx context.Context, s *Status) error {
	versions, err := r.templateVersions(ctx, &ec2.DescribeLaunchTemplateVersionsInput{
		LaunchTemplateId: aws.String(s.Fleet.TemplateID), Versions: []string{"$Default", s.Fleet.TemplateVersion.String()},
	})
	if err != nil {
		return err
	}
	for _, v := range versions {
		if aws.ToBool(v.DefaultVersion) {
			s.Template.DefaultVersion, s.Template.DefaultAMIID = numberOf(v), imageID(v)
		}
		if numberOf(v) == s.Fleet.TemplateVersion {
			s.Template.GroupAMIID = imageID(v)
		}
	}
	return nil
}

// disagreements compares images where the pointer is concerned, since infrastructure that was made again numbers its
// launch template versions anew, and versions elsewhere. A refresh that runs explains the instances that it brings.
func (s Status) disagreements(exempt func(Instance) bool) []Disagreement {
	all := []Disagreement{}
	say := func(subject, is, want string) { all = append(all, Disagreement{subject, is, want}) }
	f, t := s.Fleet, s.Template
	group := "launch template version " + f.TemplateVersion.String()
	if !f.TemplateVersion.Numbered() {
		say("group "+f.Group, group, "a numbered version, without which nothing can be rolled back")
		return all
	}
	switch {
	case s.Current == nil && len(f.Instances) > 0:
		say(PointerSubject, "none", fmt.Sprintf("the release of %s, which runs and was never verified", group))
	case s.Current != nil && t.GroupAMIID != s.Current.AMIID:
		say("group "+f.Group, fmt.Sprintf("%s with image %s", group, t.GroupAMIID), fmt.Sprintf("release %s with image %s, as the release pointer says", s.Current.Release, s.Current.AMIID))
	}
	if s.Current != nil && t.DefaultVersion != f.TemplateVersion {
		say("launch template "+t.ID, fmt.Sprintf("default version %s with image %s", t.DefaultVersion, t.DefaultAMIID), group+", as the group says")
	}
	rolling := NoVersion
	if s.Refresh != nil && !s.Refresh.Over() {
		rolling = s.Refresh.TemplateVersion
	}
	for _, i := range f.Instances {
		if i.TemplateVersion != f.TemplateVersion && i.TemplateVersion != rolling && !i.leaving() && !exempt(i) {
			say("instance "+i.ID, strings.TrimSpace(fmt.Sprintf("launch template version %s %s", i.TemplateVersion, i.Release)), group+", as the group says")
		}
	}
	for _, id := range f.Strays {
		say("target "+id, "no instance of the group", "deregistered, as a release never reaches it")
	}
	return all
}
