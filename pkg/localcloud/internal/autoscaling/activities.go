package autoscaling

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/service"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// keptActivities bounds a group's history. AWS keeps six weeks; a busy local group would fill its state with that.
const keptActivities = 1000

const (
	activityInProgress = "InProgress"
	activityDraining   = "WaitingForELBConnectionDraining"
	activityWaiting    = "MidLifecycleAction"
	activitySuccessful = "Successful"
	activityFailed     = "Failed"
	activityCancelled  = "Cancelled"
)

// activity is a scaling activity: what was done to an instance, why, and how it ended.
type activity struct {
	ID          string    `json:"id"`
	Description string    `json:"description"`
	Cause       string    `json:"cause"`
	Start       time.Time `json:"start"`
	End         time.Time `json:"end,omitzero"`
	Status      string    `json:"status"`
	Message     string    `json:"message,omitempty"`
	Progress    int       `json:"progress"`
	Subnet      string    `json:"subnet,omitempty"`
	Zone        string    `json:"zone,omitempty"`
}

// at writes a sentence of a cause: "At 2026-01-02T15:04:05Z …".
func at(t time.Time, format string, args ...any) string {
	return "At " + t.UTC().Format(time.RFC3339) + " " + fmt.Sprintf(format, args...)
}

// cite keeps a sentence for the next scaling activities.
func (g *group) cite(now time.Time, format string, args ...any) {
	g.Causes = append(slices.Clip(g.Causes), at(now, format, args...))
	g.dirty = true
}

// begin adds an activity.
func (g *group) begin(now time.Time, description string, causes ...string) *activity {
	a := &activity{
		ID: wire.UUID(), Description: description, Cause: strings.Join(causes, "  "), Start: now, Status: activityInProgress,
	}
	if g.Activities = append(g.Activities, a); len(g.Activities) > keptActivities {
		g.Activities = slices.Clone(g.Activities[len(g.Activities)-keptActivities:])
	}
	g.dirty = true
	return a
}

func (g *group) activity(id string) *activity {
	for _, a := range slices.Backward(g.Activities) {
		if a.ID == id {
			return a
		}
	}
	return &activity{} // it fell out of the history
}

// end closes an instance's activity.
func (g *group) end(i *instance, now time.Time, status, message string) {
	a := g.activity(i.Activity)
	a.Status, a.Message, a.End, a.Progress = status, message, now, 100
	i.Activity = ""
	g.dirty = true
}

// progress moves an instance's activity on.
func (g *group) progress(i *instance, status string, percent int) {
	if a := g.activity(i.Activity); a.Status != status {
		a.Status, a.Progress = status, percent
		g.dirty = true
	}
}

type activityView struct {
	ActivityID           string `xml:"ActivityId"`
	AutoScalingGroupARN  string
	AutoScalingGroupName string
	Cause                string
	Description          string
	Details              string
	EndTime              *time.Time `xml:",omitempty"`
	Progress             int
	StartTime            *time.Time
	StatusCode           string
	StatusMessage        string `xml:",omitempty"`
}

func (a *activity) view(g *group) activityView {
	details := map[string]string{}
	if a.Subnet != "" {
		details = map[string]string{"Subnet ID": a.Subnet, "Availability Zone": a.Zone}
	}
	text, err := json.Marshal(details)
	if err != nil {
		text = []byte("{}")
	}
	return activityView{
		ActivityID: a.ID, AutoScalingGroupARN: g.ARN, AutoScalingGroupName: g.Name, Cause: a.Cause, Description: a.Description,
		Details: string(text), EndTime: millis(a.End), Progress: a.Progress, StartTime: millis(a.Start), StatusCode: a.Status,
		StatusMessage: a.Message,
	}
}

type describeActivitiesInput struct {
	ActivityIDs          []string `query:"ActivityIds"`
	Name                 string   `query:"AutoScalingGroupName"`
	Filters              []filter `query:"Filters"`
	IncludeDeletedGroups bool     `query:"IncludeDeletedGroups"` // the history ends with its group
	MaxRecords           *int     `query:"MaxRecords"`
	NextToken            string   `query:"NextToken"`
}

type describeActivitiesOutput struct {
	Activities service.List[activityView]
	NextToken  string `xml:"NextToken,omitempty"`
}

func (s *Service) describeScalingActivities(_ context.Context, in *describeActivitiesInput) (*describeActivitiesOutput, error) {
	s.document.Lock()
	defer s.document.Unlock()
	groups := service.Sorted(s.state.Groups)
	if in.Name != "" {
		g, err := s.group(in.Name)
		switch {
		case err == nil:
			groups = []*group{g}
		case in.IncludeDeletedGroups:
			groups = nil
		default:
			return nil, err
		}
	}
	var found []activityView
	for _, g := range groups {
		for _, a := range g.Activities {
			match, err := a.matches(in.Filters)
			if err != nil {
				return nil, err
			}
			if match && (len(in.ActivityIDs) == 0 || slices.Contains(in.ActivityIDs, a.ID)) {
				found = append(found, a.view(g))
			}
		}
	}
	slices.Reverse(found)
	slices.SortStableFunc(found, func(a, b activityView) int { return b.StartTime.Compare(*a.StartTime) })
	part, next, err := page(found, in.MaxRecords, in.NextToken, 100)
	if err != nil {
		return nil, err
	}
	return &describeActivitiesOutput{Activities: part, NextToken: next}, nil
}

// matches reports whether the activity passes the filters: Status, StartTimeLowerBound and StartTimeUpperBound.
func (a *activity) matches(filters []filter) (bool, error) {
	for _, f := range filters {
		if f.Name == "Status" {
			if !slices.Contains(f.Values, a.Status) {
				return false, nil
			}
			continue
		}
		if f.Name != "StartTimeLowerBound" && f.Name != "StartTimeUpperBound" || len(f.Values) != 1 {
			return false, wire.Errorf("ValidationError", "Filter %s is not valid: use Status, StartTimeLowerBound or StartTimeUpperBound", f.Name)
		}
		bound, err := time.Parse(time.RFC3339, f.Values[0])
		if err != nil {
			return false, wire.Errorf("ValidationError", "The value of the filter %s is not a time", f.Name)
		}
		if f.Name == "StartTimeLowerBound" && a.Start.Before(bound) || f.Name == "StartTimeUpperBound" && a.Start.After(bound) {
			return false, nil
		}
	}
	return true, nil
}
