// Package fault has the local cloud fail in ways that are asked for: calls that are throttled, answered with an error or cut
// off, machines that boot slowly or not at all, images that take long or come to nothing.
package fault

import (
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"
)

// Spec says what is to go wrong. The zero value is nothing.
type Spec struct {
	// Throttle, Errors and Drop are how many calls of a hundred are throttled, answered with status 500, or cut off without
	// an answer. Of the calls that are cut off every other one was made.
	Throttle, Errors, Drop int
	// Service and Action choose the calls: a service's name in signatures, such as "ec2", and an operation's, either with
	// wildcards as in "Describe*". Empty means all.
	Service, Action string
	// BootDelay is how much longer a new machine takes, BootFail how many new machines of a hundred do not start.
	BootDelay time.Duration
	BootFail  int
	// ImageDelay is how much longer an image stays pending, ImageFail how many images of a hundred fail.
	ImageDelay time.Duration
	ImageFail  int
	// Lag is how old reads are of what AWS's services are not always consistent about.
	Lag time.Duration
	// Pace names one of [Paces], at which machines, images, targets and deployments take as long as on AWS.
	Pace paceName
	// Seed chooses the draws; the same seed has the same calls fail.
	Seed uint64
	// Kill are instances whose machines die, once: [Faults] does not keep it.
	Kill []string
}

// word is a word of a spec in text.
type word struct {
	name  string
	value any // a pointer into the spec
}

func (s *Spec) words() []word {
	return []word{
		{"throttle", &s.Throttle}, {"errors", &s.Errors}, {"drop", &s.Drop}, {"service", &s.Service}, {"action", &s.Action},
		{"boot-delay", &s.BootDelay}, {"boot-fail", &s.BootFail}, {"image-delay", &s.ImageDelay}, {"image-fail", &s.ImageFail},
		{"lag", &s.Lag}, {"pace", &s.Pace}, {"seed", &s.Seed}, {"kill", &s.Kill},
	}
}

// Parse reads a spec such as "throttle=20% errors=5% service=ec2 image-delay=20s". Empty and "off" are nothing.
func Parse(text string) (Spec, error) {
	var s Spec
	if strings.TrimSpace(text) == "off" {
		return s, nil
	}
	for field := range strings.FieldsSeq(text) {
		name, value, ok := strings.Cut(field, "=")
		if !ok {
			return s, fmt.Errorf("read faults: %q has no value: want one such as throttle=20%%, or off alone", field)
		}
		if err := s.set(name, value); err != nil {
			return s, err
		}
	}
	if calls := s.Throttle + s.Errors + s.Drop; calls > 100 {
		return s, fmt.Errorf("read faults: throttle, errors and drop are %d%% together: at most 100%% of the calls can fail", calls)
	}
	return s, nil
}

func (s *Spec) set(name, value string) error {
	var names []string
	for _, w := range s.words() {
		if w.name == name {
			if err := w.set(value); err != nil {
				return fmt.Errorf("read faults: %s=%s: %w", name, value, err)
			}
			return nil
		}
		names = append(names, w.name)
	}
	return fmt.Errorf("read faults: there is no %q: known are %s", name, strings.Join(names, ", "))
}

func (w word) set(text string) error {
	switch v := w.value.(type) {
	case *int:
		number, ok := strings.CutSuffix(text, "%")
		n, err := strconv.Atoi(number)
		if !ok || err != nil || n < 0 || n > 100 {
			return fmt.Errorf("want a percentage such as 20%%")
		}
		*v = n
	case *time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			return fmt.Errorf("want a duration such as 20s")
		}
		*v = d
	case *paceName:
		return v.set(text)
	case *uint64:
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return fmt.Errorf("want a number")
		}
		*v = n
	case *[]string:
		if text == "" {
			return fmt.Errorf("want the ID of an instance")
		}
		*v = append(*v, text)
	case *string:
		if _, err := path.Match(text, ""); err != nil || text == "" {
			return fmt.Errorf("want a name, or a pattern such as Describe*")
		}
		*v = text
	}
	return nil
}

// String returns the spec as [Parse] reads it, "" for nothing. Kill is left out.
func (s Spec) String() string {
	var fields []string
	for _, w := range s.words() {
		switch v := w.value.(type) {
		case *int:
			if *v != 0 {
				fields = append(fields, fmt.Sprintf("%s=%d%%", w.name, *v))
			}
		case *time.Duration:
			if *v != 0 {
				fields = append(fields, fmt.Sprintf("%s=%s", w.name, *v))
			}
		case *paceName:
			if *v != "" {
				fields = append(fields, fmt.Sprintf("%s=%s", w.name, *v))
			}
		case *uint64:
			if *v != 0 {
				fields = append(fields, fmt.Sprintf("%s=%d", w.name, *v))
			}
		case *string:
			if *v != "" {
				fields = append(fields, w.name+"="+*v)
			}
		}
	}
	return strings.Join(fields, " ")
}

// concerns reports whether the spec chooses a call.
func (s Spec) concerns(service, action string) bool {
	return matches(s.Service, service) && matches(s.Action, action)
}

func matches(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return pattern == "" || ok && err == nil
}
