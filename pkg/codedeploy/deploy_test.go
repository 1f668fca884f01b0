package codedeploy

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/codedeploy"
	"github.com/aws/aws-sdk-go-v2/service/codedeploy/types"
	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/progress"
)

var one = Revision{Bucket: "b", Key: "one.zip", ETag: "e", Version: "v"}

// after makes a step that changes the newest deployment at the n-th look.
func after(n int, change func(d *types.DeploymentInfo)) func(*service) {
	looks := 0
	return func(s *service) {
		if looks++; looks == n {
			change(s.deployments[len(s.deployments)-1])
		}
	}
}

func succeed(d *types.DeploymentInfo) { d.Status = types.DeploymentStatusSucceeded }

func TestDeploy(t *testing.T) {
	tests := map[string]struct {
		before func(s *service)
		did    []string
		id     string
	}{
		"the first": {
			before: func(*service) {},
			did:    []string{"create d-1 of hello/hello: release r2"}, id: "d-1",
		},
		"after another release": {
			before: func(s *service) { s.add("user", "Succeeded", "one.zip", "release r1") },
			did:    []string{"create d-2 of hello/hello: release r2"}, id: "d-2",
		},
		"after another revision": {
			before: func(s *service) { s.add("user", "Succeeded", "two.zip", "release r2") },
			did:    []string{"create d-2 of hello/hello: release r2"}, id: "d-2",
		},
		"after it failed": {
			before: func(s *service) { s.add("user", "Failed", "one.zip", "release r2") },
			did:    []string{"create d-2 of hello/hello: release r2"}, id: "d-2",
		},
		"back to an earlier release": {
			before: func(s *service) {
				s.add("user", "Succeeded", "one.zip", "release r2")
				s.add("user", "Succeeded", "one.zip", "release r3")
			},
			did: []string{"create d-3 of hello/hello: release r2"}, id: "d-3",
		},
		"one that a killed run started": {
			before: func(s *service) { s.add("user", "InProgress", "one.zip", "release r2") },
			id:     "d-1",
		},
		"one that a killed run finished": {
			before: func(s *service) {
				s.add("user", "Succeeded", "one.zip", "release r2")
				s.add("autoscaling", "Succeeded", "one.zip", "")
			},
			id: "d-1",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &service{}
				test.before(s)
				s.step = after(4, func(d *types.DeploymentInfo) {
					if !over(d.Status) {
						succeed(d)
					}
				})
				d, err := s.client().Deploy(t.Context(), one, "release r2")
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(test.did, s.did); diff != "" || d.ID != test.id || d.Status != "Succeeded" || d.Revision != "s3://b/one.zip" {
					t.Errorf("deployment %+v %s", d, diff)
				}
			})
		})
	}
}

func TestDeployPinsTheRevision(t *testing.T) {
	var got *types.S3Location
	s := &service{create: func(in *sdk.CreateDeploymentInput) error {
		got = in.Revision.S3Location
		return errors.New("enough")
	}}
	_, _ = s.client().Deploy(t.Context(), one, "release r2")
	if got == nil || *got.ETag != "e" || *got.Version != "v" || *got.Key != "one.zip" || *got.Bucket != "b" || got.BundleType != types.BundleTypeZip {
		t.Errorf("location %+v", got)
	}
}

func TestDeployWaitsForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{}
		other := s.add("user", "InProgress", "one.zip", "release r1")
		s.create = func(*sdk.CreateDeploymentInput) error {
			if !over(other.Status) {
				return &types.DeploymentLimitExceededException{}
			}
			return nil
		}
		looks := 0
		s.step = func(s *service) {
			if looks++; looks == 3 {
				succeed(other)
			}
			if looks == 6 {
				succeed(s.deployments[1])
			}
		}
		var shown bytes.Buffer
		d, err := s.client().Deploy(progress.NewContext(t.Context(), progress.New(&shown)), one, "release r2")
		if err != nil || d.ID != "d-2" || !strings.Contains(shown.String(), "waiting for deployment d-1 (release r1)") {
			t.Errorf("%+v, %v\n%s", d, err, shown.String())
		}
	})
}

func TestDeployFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{targets: map[string][]types.InstanceTarget{"d-1": {
			target("i-1", "Failed", "ValidateService", "Failed", unhealthy()),
			target("i-2", "Succeeded", "ValidateService", "Succeeded", nil),
			{TargetId: aws.String("i-3"), Status: "Failed"},
			{TargetId: aws.String("i-4"), Status: "Failed"},
			{TargetId: aws.String("i-5"), Status: "Failed"},
		}}}
		s.step = after(2, func(d *types.DeploymentInfo) {
			d.Status = types.DeploymentStatusFailed
			d.ErrorInformation = &types.ErrorInformation{Code: types.ErrorCodeHealthConstraints, Message: aws.String("too many failed")}
		})
		_, err := s.client().Deploy(t.Context(), one, "release r2")
		want := `deploy release r2: deployment d-1 ended as Failed: HEALTH_CONSTRAINTS: too many failed
  i-1: ValidateService: scripts/check.sh: ScriptFailed: Script at specified location: scripts/check.sh failed with exit code 1
    [stderr]panic: no database
    [stderr]ingot-check: nothing listens
  i-3: no script ran
  i-4: no script ran
  and 1 more`
		if err == nil {
			t.Fatal("no error")
		}
		if diff := cmp.Diff(want, err.Error()); diff != "" {
			t.Error(diff)
		}
		if e, ok := errors.AsType[*FailedError](err); !ok || len(e.Deployment.Failures) != 4 || e.NoInstances() {
			t.Errorf("error %#v", e)
		}
	})
}

// CodeDeployDefault.AllAtOnce calls that a success.
func TestDeployPassesOnSomeOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{targets: map[string][]types.InstanceTarget{}}
		failed := []types.InstanceTarget{target("i-1", "Failed", "ValidateService", "Failed", unhealthy())}
		s.targets["d-1"], s.targets["d-2"] = failed, failed
		s.step = func(s *service) {
			d := s.deployments[len(s.deployments)-1]
			d.Status, d.DeploymentOverview = types.DeploymentStatusSucceeded, &types.DeploymentOverview{Succeeded: 1, Failed: 1}
		}
		for range 2 { // nor is it taken for done the next time
			_, err := s.client().Deploy(t.Context(), one, "release r2")
			if e, ok := errors.AsType[*FailedError](err); !ok || len(e.Deployment.Failures) != 1 {
				t.Errorf("error %v", err)
			}
		}
		if len(s.did) != 2 {
			t.Errorf("did %q", s.did)
		}
	})
}

func TestDeployToNoInstances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{step: after(1, func(d *types.DeploymentInfo) {
			d.Status, d.ErrorInformation = types.DeploymentStatusFailed, &types.ErrorInformation{Code: types.ErrorCodeNoInstances}
		})}
		_, err := s.client().Deploy(t.Context(), one, "release r2")
		if e, ok := errors.AsType[*FailedError](err); !ok || !e.NoInstances() {
			t.Errorf("error %v", err)
		}
	})
}

func TestDeployIsInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		s := &service{}
		_, err := s.client().Deploy(ctx, one, "release r2")
		want := "deploy release r2: context deadline exceeded; deployment d-1 goes on in AWS"
		if err == nil || err.Error() != want || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v\nwant  %s", err, want)
		}
		if e, ok := errors.AsType[*InterruptedError](err); !ok || e.ID != "d-1" {
			t.Errorf("error %#v", err)
		}
		// The gap grows, so that a minute's wait is a dozen looks.
		if s.calls.Load() > 20 {
			t.Errorf("%d calls in a minute", s.calls.Load())
		}
	})
}

func TestDeployWithoutInfrastructure(t *testing.T) {
	s := &service{create: func(*sdk.CreateDeploymentInput) error { return &types.DeploymentGroupDoesNotExistException{} }}
	_, err := s.client().Deploy(t.Context(), one, "release r2")
	if !errors.Is(err, ErrNotSetUp) || !strings.Contains(err.Error(), "CodeDeploy is not set up") {
		t.Errorf("error %v", err)
	}
}

func TestProgress(t *testing.T) {
	s := &service{targets: map[string][]types.InstanceTarget{"d-1": {
		target("i-1", "InProgress", "ValidateService", "InProgress", nil),
		target("i-2", "InProgress", "DownloadBundle", "InProgress", nil),
		target("i-3", "InProgress", "ValidateService", "InProgress", nil),
		target("i-4", "Succeeded", "ValidateService", "Succeeded", nil),
	}}}
	info := s.add("user", "InProgress", "one.zip", "release r2")
	info.DeploymentOverview = &types.DeploymentOverview{Succeeded: 1, Failed: 1, InProgress: 3, Pending: 5}
	if got, want := s.client().progressLine(t.Context(), *info), "d-1: 2 of 10 instances, 1 failed, DownloadBundle on 1, ValidateService on 2"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	// However many instances there are, a look is three calls, and here the first was made before.
	if s.calls.Load() != 2 {
		t.Errorf("%d calls", s.calls.Load())
	}
}

// A deployment that was just made may take some seconds to be found.
func TestDeployWaitsForDeployment(t *testing.T) {
	for name, test := range map[string]struct {
		hidden time.Duration
		err    string
	}{
		"seconds":  {hidden: 10 * time.Second},
		"for good": {hidden: time.Hour, err: "deployment d-1 is not there"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				s := &service{}
				s.step = func(s *service) {
					if s.hidden = time.Since(begin) < test.hidden; !s.hidden {
						succeed(s.deployments[0])
					}
				}
				_, err := s.client().Deploy(t.Context(), one, "release r1")
				if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
					t.Errorf("error %v", err)
				}
			})
		})
	}
}
