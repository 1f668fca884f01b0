package report

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/probe"
	"github.com/ingot-build/ingot/pkg/progress"
	"github.com/ingot-build/ingot/pkg/rollout"
)

var update = flag.Bool("update", false, "write the golden files anew")

const (
	oldRelease = "7d41f0a2b9c4"
	newRelease = "e93b5c17d208"
)

// life is what an instance does: its states by the second in which they begin.
type life struct {
	id      string
	release string
	states  []rollout.Instance // Lifecycle, Health, Target, Reason
	from    []float64
	gone    float64 // zero: never
}

// story is a rollout that is played to a recorder.
type story struct {
	seconds float64
	poll    int // looks at the fleet: at every how many half seconds; zero for each
	rate    int
	probe   float64 // when requests begin
	lives   []life
	refresh []Step
	answer  func(rng *rand.Rand, at float64) (release string, ms float64, err error)
	outcome Outcome
}

// play records a story second by second, in a bubble of its own time.
func play(t *testing.T, s story) (report Report) {
	synctest.Test(t, func(*testing.T) {
		time.Sleep(time.Until(time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC)))
		begin, rng := time.Now(), rand.New(rand.NewPCG(1, 2))
		r := New(newRelease, oldRelease, begin)
		at := func(seconds float64) time.Time { return begin.Add(time.Duration(seconds * float64(time.Second))) }
		for second := s.probe; second < s.seconds; second += 0.5 {
			for i := range s.rate / 2 {
				when := second + float64(i)/float64(s.rate)
				release, ms, err := s.answer(rng, when)
				sample := probe.Sample{At: at(when), Latency: time.Duration(ms * float64(time.Millisecond)), Release: release, Err: err, Status: 200}
				if code, isStatus := errors.AsType[status](err); isStatus {
					sample.Err, sample.Status = nil, int(code)
				}
				r.Sample(sample)
			}
			if half := int(2 * second); half%max(1, s.poll) == 0 {
				r.Observe(s.look(at(second), second))
			}
		}
		time.Sleep(time.Until(at(s.seconds)))
		report = r.Finish(s.outcome)
	})
	return report
}

type status int

func (s status) Error() string { return strconv.Itoa(int(s)) }

func (s story) look(at time.Time, second float64) rollout.Observation {
	o := rollout.Observation{At: at}
	for _, l := range s.lives {
		if second < l.from[0] || l.gone > 0 && second >= l.gone {
			continue
		}
		var now rollout.Instance
		for i, from := range l.from {
			if second >= from {
				now = l.states[i]
			}
		}
		now.ID, now.Release, now.Zone = l.id, l.release, "us-west-1a"
		o.Fleet.Instances = append(o.Fleet.Instances, now)
	}
	for _, step := range s.refresh {
		if second >= step.At {
			o.Refresh = rollout.Refresh{ID: "0c3d5b1e-aa01", Status: step.Status, Percentage: step.Percentage, Reason: step.Reason}
		}
	}
	return o
}

var (
	pending     = rollout.Instance{Lifecycle: "Pending", Health: "Healthy"}
	held        = rollout.Instance{Lifecycle: "Pending:Wait", Health: "Healthy"}
	warming     = rollout.Instance{Lifecycle: "InService", Health: "Healthy", Target: "initial", Reason: "Elb.InitialHealthChecking: Initial health checks in progress"}
	healthy     = rollout.Instance{Lifecycle: "InService", Health: "Healthy", Target: "healthy"}
	unhealthy   = rollout.Instance{Lifecycle: "InService", Health: "Healthy", Target: "unhealthy", Reason: "Target.ResponseCodeMismatch: Health checks failed with these codes: [500]"}
	draining    = rollout.Instance{Lifecycle: "Terminating", Health: "Healthy", Target: "draining"}
	terminating = rollout.Instance{Lifecycle: "Terminating", Health: "Unhealthy"}
)

// old serves from the begin until it is replaced.
func old(id string, from, until float64) life {
	return life{id: id, release: oldRelease, states: []rollout.Instance{healthy, draining, terminating}, from: []float64{from, until, until + 6}, gone: until + 9}
}

// fresh boots, passes its hook, and serves.
func fresh(id string, from float64) life {
	return life{id: id, release: newRelease, states: []rollout.Instance{pending, held, warming, healthy}, from: []float64{from, from + 5, from + 8, from + 12}}
}

func phases(list ...any) []progress.Phase {
	begin := time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC)
	var all []progress.Phase
	for i := 0; i < len(list); i += 4 {
		at := func(f float64) time.Duration { return time.Duration(f * float64(time.Second)) }
		all = append(all, progress.Phase{Name: list[i].(string), Begin: begin.Add(at(list[i+1].(float64))), Elapsed: at(list[i+2].(float64)), Depth: list[i+3].(int)})
	}
	return all
}

func latency(rng *rand.Rand, median float64) float64 {
	return median * math.Exp(0.35*rng.NormFloat64())
}

func good() story {
	from := 48.0
	return story{
		seconds: 142, rate: 200, probe: from,
		lives: []life{
			old("i-0a1f93c2d4e8b7601", from, 84), old("i-0b7c2e5f8190d3a42", from, 110), old("i-0c9d4a7b3e62f1583", from, 110),
			fresh("i-04e1b7d9c3a52f860", 54), fresh("i-05f2c8eab4d6309a1", 58), fresh("i-06a3d9fbc5e741ab2", 88),
		},
		refresh: []Step{
			{At: 52, Status: "Pending"}, {At: 54, Status: "InProgress"}, {At: 78, Status: "InProgress", Percentage: 33},
			{At: 79, Status: "InProgress", Percentage: 50, Reason: "Reached the checkpoint at 50 percent. Waiting for 5 seconds."}, {At: 84, Status: "InProgress", Percentage: 66},
			{At: 108, Status: "InProgress", Percentage: 100}, {At: 119, Status: "Baking", Percentage: 100}, {At: 136, Status: "Successful", Percentage: 100},
		},
		answer: func(rng *rand.Rand, at float64) (string, float64, error) {
			share := 0.0
			switch {
			case at >= 110:
				share = 1
			case at >= 100:
				share = 0.75
			case at >= 84:
				share = 0.5
			case at >= 70:
				share = 0.4
			}
			if rng.Float64() < share {
				return newRelease, latency(rng, 1.6+6*math.Exp(-(at-70)/4)), nil
			}
			return oldRelease, latency(rng, 2.4), nil
		},
		outcome: Outcome{
			App: "hello", Image: "ami-0c8f1d2e3b4a59687", Commit: "4be1c07f9d", By: "https://github.com/acme/hello/actions/runs/7714209",
			URL: "https://hello.example.com", Changes: []string{"Greet people by their name", "Answer /healthz without the database", `Escape <script> & "quotes"`},
			Phases: phases("bake application AMI", 0.4, 46.0, 0, "build with Packer", 1.2, 43.1, 1, "copy tags", 44.5, 1.4, 1,
				"replace 3 instances of hello by release "+newRelease, 47.2, 89.1, 0, "see release "+newRelease+" through the load balancer", 136.4, 5.2, 0),
		},
	}
}

func bad() story {
	from := 6.0
	sick := func(id string, from, gone float64) life {
		return life{id: id, release: newRelease, states: []rollout.Instance{pending, warming, unhealthy, terminating}, from: []float64{from, from + 5, from + 14, from + 26}, gone: gone}
	}
	s := good()
	s.seconds, s.probe = 96, from
	s.lives = []life{
		{id: "i-0a1f93c2d4e8b7601", release: oldRelease, states: []rollout.Instance{healthy}, from: []float64{from}},
		{id: "i-0b7c2e5f8190d3a42", release: oldRelease, states: []rollout.Instance{healthy}, from: []float64{from}},
		sick("i-04e1b7d9c3a52f860", 14, 48), sick("i-05f2c8eab4d6309a1", 52, 86),
	}
	s.refresh = []Step{
		{At: 10, Status: "Pending"}, {At: 12, Status: "InProgress", Reason: "Waiting for instances to warm up."},
		{At: 80, Status: "RollbackInProgress", Reason: "Two new instances were lost."}, {At: 92, Status: "RollbackSuccessful", Percentage: 100},
	}
	s.answer = func(rng *rand.Rand, at float64) (string, float64, error) {
		if at > 60 && at < 64 && rng.Float64() < 0.1 {
			return "", 10, status(502)
		}
		if at > 71 && at < 71.3 && rng.Float64() < 0.3 {
			return "", 10_000, context.DeadlineExceeded
		}
		return oldRelease, latency(rng, 2.4), nil
	}
	s.outcome.Err = fmt.Errorf("roll out release %q: %w by instance refresh 0c3d5b1e-aa01: 2 new instances were lost\ni-05f2c8eab4d6309a1 Target.ResponseCodeMismatch: Health checks failed with these codes: [500]", newRelease, rollout.ErrReverted)
	s.outcome.Phases = phases("bake application AMI", 0.4, 3.0, 0, "replace 2 instances of hello by release "+newRelease, 5.2, 90.1, 0)
	s.outcome.Phases[1].Failed = true
	return s
}

// large replaces a thousand instances, a hundred at a time, in twenty minutes.
func large() story {
	s := good()
	s.seconds, s.probe, s.rate, s.poll = 1260, 40, 20, 10
	s.lives = nil
	for i := range 1000 {
		wave := float64(i / 100)
		s.lives = append(s.lives, old(fmt.Sprintf("i-0a%015x", i), 40, 120+110*wave+float64(i%100)/5))
		l := fresh(fmt.Sprintf("i-0b%015x", i), 60+110*wave+float64(i%7))
		if i == 433 {
			l.states, l.from = append(l.states[:3:3], unhealthy, healthy), []float64{l.from[0], l.from[1], l.from[2], l.from[3], l.from[3] + 40}
		}
		s.lives = append(s.lives, l)
	}
	s.refresh = []Step{{At: 45, Status: "Pending"}, {At: 50, Status: "InProgress"}}
	for i := range 100 {
		s.refresh = append(s.refresh, Step{At: 120 + 11*float64(i), Status: "InProgress", Percentage: i + 1})
	}
	s.refresh = append(s.refresh, Step{At: 1250, Status: "Successful", Percentage: 100})
	s.answer = func(rng *rand.Rand, at float64) (string, float64, error) {
		if rng.Float64() < math.Floor((at-20)/110)/10 {
			return newRelease, latency(rng, 16), nil
		}
		return oldRelease, latency(rng, 24), nil
	}
	s.outcome.Phases = phases("bake application AMI", 0.4, 38.0, 0, "replace 1000 instances of hello by release "+newRelease, 40.0, 1211.0, 0)
	return s
}

var stories = map[string]func() story{"good": good, "bad": bad}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s is not what it was; look at it, and if it is right: go test ./pkg/report -update\n%s", path, diff)
	}
}

func TestGolden(t *testing.T) {
	for name, make := range stories {
		t.Run(name, func(t *testing.T) {
			r := play(t, make())
			jsonPath, htmlPath, err := r.Write(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			for extension, path := range map[string]string{".json": jsonPath, ".html": htmlPath} {
				data, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				golden(t, name+extension, data)
			}
			golden(t, name+".md", []byte(r.Markdown()))
		})
	}
}

// TestUnseen: a release that nobody here could ask is live, and the report says what decided.
func TestUnseen(t *testing.T) {
	r := New("r2", "r1", time.Now()).Finish(Outcome{Unseen: "dial tcp 192.0.2.1:80: i/o timeout"})
	const want = "Not verified from here: dial tcp 192.0.2.1:80: i/o timeout. All targets are healthy, and that decided."
	if r.Summary() != want || r.Result != Succeeded || !strings.Contains(r.Markdown(), "Not verified from here: dial tcp 192.0.2.1:80") {
		t.Errorf("summary %q of\n%s", r.Summary(), r.Markdown())
	}
}

// TestResults: each way to end has a result and a headline of its own.
func TestResults(t *testing.T) {
	stop := errors.New("ended by SIGINT")
	tests := map[string]struct {
		outcome Outcome
		result  Result
		want    string
	}{
		"it serves":                            {Outcome{}, Succeeded, "✓ Release r2 is live"},
		"it was rolled back":                   {Outcome{Err: rollout.ErrReverted}, Reverted, "✗ Release r2 was rolled back"},
		"it failed":                            {Outcome{Err: stop}, Failed, "✗ The rollout of release r2 failed"},
		"nobody watches it":                    {Outcome{Err: stop, Interrupted: true}, Interrupted, "… The rollout of release r2 was left to itself"},
		"it serves, but its deployment failed": {Outcome{Err: stop, Serves: true}, Undeployed, "! Release r2 is live, but its deployment failed"},
		"nobody watches its deployment":        {Outcome{Err: stop, Serves: true, Interrupted: true}, Interrupted, "… The rollout of release r2 was left to itself"},
	}
	for name, tc := range tests {
		r := New("r2", "r1", time.Now()).Finish(tc.outcome)
		if got := r.Mark() + " " + r.Headline(); r.Result != tc.result || got != tc.want {
			t.Errorf("%s: result %q, %q, want %q, %q", name, r.Result, got, tc.result, tc.want)
		}
		var page bytes.Buffer
		if err := r.html(&page); err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		for form, text := range map[string]string{"HTML": page.String(), "Markdown": r.Markdown()} {
			if !strings.Contains(text, r.Headline()) {
				t.Errorf("%s: the %s does not say it", name, form)
			}
		}
		if !strings.Contains(string(data), `"result":"`+string(tc.result)+`"`) {
			t.Errorf("%s: the JSON does not say it: %s", name, data)
		}
	}
}

// A thousand instances make a page that a browser opens at once, and a summary far below GitHub's limit.
func TestLarge(t *testing.T) {
	r := play(t, large())
	jsonPath, htmlPath, err := r.Write(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for path, limit := range map[string]int64{jsonPath: 1 << 20, htmlPath: 200 << 10} {
		if info, err := os.Stat(path); err != nil || info.Size() > limit {
			t.Errorf("%s: %v, %d bytes, want at most %d", path, err, info.Size(), limit)
		}
	}
	if n := len(r.Markdown()); n > 20<<10 {
		t.Errorf("the summary has %d bytes", n)
	}
	if len(r.Buckets) > maxBuckets || r.Totals.Requests != 24400 || len(r.Instances) != 2000 {
		t.Errorf("%d buckets, %d requests, %d instances", len(r.Buckets), r.Totals.Requests, len(r.Instances))
	}
}

// At a few requests a second a bucket takes in so many that shares mean something.
func TestFewRequests(t *testing.T) {
	s := good()
	s.rate = 4
	r := play(t, s)
	for _, b := range r.Buckets[:len(r.Buckets)-1] {
		if b.Requests < fewRequests {
			t.Fatalf("a bucket of %.1f s holds %d requests", r.Width, b.Requests)
		}
	}
	if len(r.Buckets) < minBuckets || r.Totals.Requests != 376 {
		t.Errorf("%d buckets, %d requests", len(r.Buckets), r.Totals.Requests)
	}
}
