// Package report draws what happened during a rollout: which release answered over time, how fast, what failed, and
// which state each instance was in.
//
// A [Recorder] is fed while the rollout runs. What it makes of it, a [Report], is written as JSON, as an HTML page that
// needs nothing but itself, and as Markdown for the summary of a GitHub Actions job.
package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/google/renameio/v2"
)

// Result is how a rollout ended.
type Result string

// The results that a report tells apart.
const (
	Succeeded   Result = "succeeded"   // the release serves
	Reverted    Result = "rolled back" // the release before serves again
	Failed      Result = "failed"      // it ended otherwise, and the cause says how
	Interrupted Result = "interrupted" // it goes on, but nobody watches it any more
	Undeployed  Result = "undeployed"  // the release serves, but the deployment that records it failed
)

// Report is a rollout that has ended. Every time in it but Begin is in seconds since Begin, every latency in
// milliseconds.
type Report struct {
	App       string     `json:"app"`
	Release   string     `json:"release"`
	Previous  string     `json:"previous,omitempty"` // the release that served before; empty for a first one
	Image     string     `json:"image,omitempty"`    // ID of the application AMI
	Commit    string     `json:"commit,omitempty"`
	By        string     `json:"by,omitempty"` // who rolled it out
	URL       string     `json:"url,omitempty"`
	Begin     time.Time  `json:"begin"`
	Seconds   float64    `json:"seconds"` // how long it took
	Result    Result     `json:"result"`
	Cause     string     `json:"cause,omitempty"`   // why it did not succeed
	Unseen    string     `json:"unseen,omitempty"`  // why the load balancer could not be asked from here, and its targets' health decided
	Changes   []string   `json:"changes,omitempty"` // subjects of the commits since the release before
	Phases    []Phase    `json:"phases"`
	Totals    Totals     `json:"totals"`
	Width     float64    `json:"bucket_seconds"` // how long a bucket is
	Buckets   []Bucket   `json:"buckets"`        // those in which there was a request
	Failures  []Failure  `json:"failures"`
	Refresh   []Step     `json:"refresh"`
	Instances []Instance `json:"instances"`
}

// Phase is a stage of the rollout's command. Phases are in the order in which they began.
type Phase struct {
	Name    string  `json:"name"`
	At      float64 `json:"at"`
	Seconds float64 `json:"seconds"`
	Failed  bool    `json:"failed,omitempty"`
	Depth   int     `json:"depth"` // how many phases it ran inside
}

// Totals are over all requests.
type Totals struct {
	Requests int      `json:"requests"`
	Failed   int      `json:"failed"`
	Releases []Served `json:"releases"` // in the order in which they first answered
	Median   float64  `json:"median_ms"`
	P99      float64  `json:"p99_ms"`
	Slowest  float64  `json:"slowest_ms"`
}

// Served is what a release answered without an error. Its name is empty where an answer did not say its release.
type Served struct {
	Release  string  `json:"release"`
	Requests int     `json:"requests"`
	First    float64 `json:"first"` // when the first request that it answered was due
	Last     float64 `json:"last"`
}

// Bucket is what came of the requests that were due in a span of time.
type Bucket struct {
	At       float64        `json:"at"` // its begin
	Requests int            `json:"requests"`
	Failed   int            `json:"failed,omitempty"`
	Releases map[string]int `json:"releases"` // requests answered without an error, by release
	Median   float64        `json:"median_ms"`
	P99      float64        `json:"p99_ms"`
}

// Failure is one way in which requests failed.
type Failure struct {
	What  string  `json:"what"`
	Count int     `json:"count"`
	First float64 `json:"first"`
	Last  float64 `json:"last"`
}

// Step is a change in what EC2 Auto Scaling says of the instance refresh.
type Step struct {
	At         float64 `json:"at"`
	ID         string  `json:"id"`
	Status     string  `json:"status"`
	Percentage int     `json:"percentage"`
	Reason     string  `json:"reason,omitempty"`
}

// Instance is one that belonged to the group during the rollout.
type Instance struct {
	ID      string `json:"id"`
	Zone    string `json:"zone,omitempty"`
	Release string `json:"release"`
	Spans   []Span `json:"spans"`
}

// Span is the time that an instance was seen in a state.
type Span struct {
	State  State   `json:"state"`
	From   float64 `json:"from"`
	To     float64 `json:"to"`
	Reason string  `json:"reason,omitempty"` // what the load balancer had against it
}

// Name is what the report's files are called without their extension: TIME-RELEASE, the time being that of the begin in
// UTC, so that names sort by time.
func (r Report) Name() string {
	return r.Begin.UTC().Format("20060102T150405Z") + "-" + unsafeInName.ReplaceAllString(r.Release, "_")
}

var unsafeInName = regexp.MustCompile(`[^A-Za-z0-9._-]`)

// Write writes the report into a folder, which it makes where it is not there: NAME.json and NAME.html. Each appears as
// a whole or not at all.
func (r Report) Write(dir string) (jsonPath, htmlPath string, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write the report of release %q: %w", r.Release, err)
		}
	}()
	var data, page bytes.Buffer
	encoder := json.NewEncoder(&data)
	encoder.SetIndent("", "\t")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(r); err != nil {
		return "", "", err
	}
	if err := r.html(&page); err != nil {
		return "", "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", "", err
	}
	path := filepath.Join(dir, r.Name())
	for extension, content := range map[string][]byte{".json": data.Bytes(), ".html": page.Bytes()} {
		if err := renameio.WriteFile(path+extension, content, 0o644, renameio.WithTempDir(dir)); err != nil {
			return "", "", err
		}
	}
	return path + ".json", path + ".html", nil
}
