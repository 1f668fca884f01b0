package rollout

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	// A release is given up once failLeast of its instances have failed, or failPercent of the fleet where that is more.
	// One can be an accident of the hardware, and among a thousand there are several.
	failLeast   = 2
	failPercent = 2
)

// cohort follows the instances of one launch template version, and tells which of them have failed.
type cohort struct {
	version  TemplateVersion
	warmup   time.Duration // an instance that needs longer has failed; 0 where none is too late
	lateness time.Duration // what it has beyond that, until the load balancer has noticed
	members  map[string]*member
}

// member is an instance of a cohort.
type member struct {
	last      Instance // as it was seen last
	inService time.Time
	healthy   bool   // it served at some time
	reason    string // the last thing that the load balancer had against it
	gone      bool
	late      bool   // it was not healthy within its warm-up
	trouble   string // why it has failed; empty while it has not
}

func newCohort(version TemplateVersion, warmup, lateness time.Duration) *cohort {
	return &cohort{version: version, warmup: warmup, lateness: lateness, members: map[string]*member{}}
}

// look takes in what a fleet is at a time.
func (c *cohort) look(f Fleet, at time.Time) {
	there := map[string]bool{}
	for _, i := range f.Instances {
		if i.TemplateVersion != c.version {
			continue
		}
		there[i.ID] = true
		m := c.members[i.ID]
		if m == nil {
			m = &member{}
			c.members[i.ID] = m
		}
		if m.gone { // it was not: an old answer did not know it yet
			m.gone, m.trouble = false, ""
		}
		m.look(i, at, c.warmup, c.lateness)
	}
	for id, m := range c.members {
		if !there[id] && !m.gone {
			m.gone = true
			m.judgeLeaving()
		}
	}
}

func (m *member) look(i Instance, at time.Time, warmup, lateness time.Duration) {
	was := m.last
	m.last = i
	if i.Reason != "" && i.Target != "draining" && i.Target != "unused" && !i.leaving() {
		m.reason = i.Reason
	}
	if i.inService() && m.inService.IsZero() {
		m.inService = at
	}
	m.healthy = m.healthy || i.serves()
	switch {
	case i.leaving():
		if !was.leaving() {
			m.judgeLeaving()
		}
	case m.healthy && i.Target == "unhealthy":
		m.fail("became unhealthy after it had served")
	case !m.healthy && i.inService() && warmup > 0 && at.Sub(m.inService) > warmup+lateness:
		m.late = true
		m.fail(fmt.Sprintf("was not healthy within its warm-up of %s", warmup))
	}
}

// judgeLeaving judges an instance that leaves the group. One that served to the last is not to blame: the group became
// smaller, or moved it to another zone.
func (m *member) judgeLeaving() {
	switch {
	case m.healthy && m.last.Health != "Unhealthy" && m.last.Target != "unhealthy":
	case m.healthy:
		m.fail("served, died and was taken out")
	case m.inService.IsZero():
		m.fail("never got into service, and was taken out as " + cmp.Or(m.last.Lifecycle, "Pending"))
	default:
		m.fail("never became healthy, and was taken out")
	}
}

func (m *member) fail(why string) {
	if m.trouble != "" {
		return
	}
	m.trouble = why
	if m.reason != "" {
		m.trouble += " (" + m.reason + ")"
	}
}

// failed returns the IDs of the instances that have failed.
func (c *cohort) failed() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(c.members)), func(id string) bool { return c.members[id].trouble == "" })
}

// serving counts the instances that serve.
func (c *cohort) serving() (n int) {
	for _, m := range c.members {
		if !m.gone && m.last.serves() {
			n++
		}
	}
	return n
}

// hopeless tells whether so many have failed that a fleet of a size will not become a good one.
func (c *cohort) hopeless(desired int) bool {
	return len(c.failed()) >= min(max(failLeast, desired*failPercent/100), max(1, desired))
}

// describe says what is known of an instance that has failed.
func (c *cohort) describe(id string) string {
	m := c.members[id]
	state := cmp.Or(m.last.Lifecycle, "gone")
	if m.gone && !strings.HasPrefix(state, "Terminat") {
		state += ", then gone"
	}
	target := cmp.Or(m.last.Target, "not registered")
	return fmt.Sprintf("instance %s %s; it is %s, its target %s", id, m.trouble, state, target)
}

// String is a line for the progress display.
func (c *cohort) String() string {
	there := 0
	for _, m := range c.members {
		if !m.gone && !m.last.leaving() {
			there++
		}
	}
	text := fmt.Sprintf("%d new, %d healthy", there, c.serving())
	if n := len(c.failed()); n > 0 {
		text += fmt.Sprintf(", %d failed", n)
	}
	return text
}
