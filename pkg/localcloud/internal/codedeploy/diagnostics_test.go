package codedeploy

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/compute"
)

func TestDiagnostics(t *testing.T) {
	const ok = "#!/bin/sh\n"
	for name, test := range map[string]struct {
		files map[string]string
		event string
		want  diagnostics
	}{
		"fails": {
			files: map[string]string{"appspec.yml": spec("BeforeInstall", "ok.sh", "ValidateService", "bad.sh"), "ok.sh": ok,
				"bad.sh": "#!/bin/sh\necho one\necho two >&2\nprintf three\nexit 7\n"},
			event: validateService,
			want: diagnostics{codeFailed, "bad.sh", "Script at specified location: bad.sh failed with exit code 7",
				"LifecycleEvent - ValidateService\nScript - bad.sh\n[stdout]one\n[stderr]two\n[stdout]three\n"},
		},
		"is missing": {
			files: map[string]string{"appspec.yml": spec("AfterInstall", "/none.sh")},
			event: afterInstall,
			want: diagnostics{codeMissing, "none.sh", "Script does not exist at specified location: ARCHIVE/none.sh",
				"LifecycleEvent - AfterInstall\n"},
		},
		"is no program": {
			files: map[string]string{"appspec.yml": spec("BeforeInstall", "bad.sh"), "bad.sh": "#!/no/such/interpreter\n"},
			event: beforeInstall,
			want: diagnostics{codeFailed, "bad.sh", "Script at specified location: bad.sh failed with exit code 127",
				"LifecycleEvent - BeforeInstall\nScript - bad.sh\n[stderr]environment: line 22: ARCHIVE/bad.sh: cannot execute: required file not found\n"},
		},
		"has no specification": {
			files: map[string]string{"ok.sh": ok},
			event: beforeInstall,
			want: diagnostics{Code: codeUnknown, Message: `The CodeDeploy agent did not find an AppSpec file within the unpacked revision directory ` +
				`at revision-relative path "appspec.yml". The revision was unpacked to directory "ARCHIVE", and the AppSpec file was expected but ` +
				`not found at path "ARCHIVE/appspec.yml".`},
		},
		"has a wrong specification": {
			files: map[string]string{"appspec.yaml": "version: 0.0\nos: linux\nhook: {}\n"},
			event: beforeInstall,
			want:  diagnostics{Code: codeUnknown, Message: `appspec.yaml:3: unknown key "hook"`},
		},
		"has files that are there": {
			files: map[string]string{"appspec.yml": "version: 0.0\nos: linux\nfiles:\n- {source: passwd, destination: /etc}\n", "passwd": ""},
			event: install,
			want: diagnostics{Code: codeUnknown,
				Message: "The deployment failed because a specified file already exists at this location: /etc/passwd"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, []string{"i-1"}, func(b *bench) {
				b.group(nil)
				d := b.run(b.cloud.put(t, "bad.zip", test.files))
				if d.Status != statusFailed || d.Error == nil || d.Error.Code != "HEALTH_CONSTRAINTS" || d.Overview.Failed != 1 {
					t.Errorf("deployment: %s, %+v, %+v", d.Status, d.Error, d.Overview)
				}
				view := b.view(d.ID, "i-1")
				archive := rootFolder + "/" + b.state.Applications["web"].Groups["web"].ID + "/" + d.ID + "/deployment-archive"
				after := false
				for _, e := range view.Events {
					switch {
					case e.Name == test.event:
						got := *e.Diagnostics
						got.Message = strings.ReplaceAll(got.Message, archive, "ARCHIVE")
						got.LogTail = strings.ReplaceAll(got.LogTail, archive, "ARCHIVE")
						if diff := cmp.Diff(test.want, got); diff != "" {
							t.Errorf("diagnostics (-want +got):\n%s", diff)
						}
						if e.Status != statusFailed {
							t.Errorf("%s: %s", e.Name, e.Status)
						}
						after = true
					case after && e.Status != statusSkipped, !after && e.Status != statusSucceeded:
						t.Errorf("%s: %s", e.Name, e.Status)
					}
				}
			})
		})
	}
}

func TestBadBundles(t *testing.T) {
	inBubble(t, []string{"i-1"}, func(b *bench) {
		b.group(nil)
		good := map[string]string{"appspec.yml": spec()}
		wrongTag := b.cloud.put(t, "tag.zip", good)
		wrongTag.S3.ETag = "another"
		missing := b.cloud.put(t, "gone.zip", good)
		delete(b.cloud.objects, "revisions/gone.zip")
		for want, revision := range map[string]*revisionLocation{
			"The specified key does not exist.":                                                 missing,
			"Expected deployment artifact bundle etag another but was actually etag-of-tag.zip": wrongTag,
			"unpack the bundle text.zip: zip: not a valid zip file":                             b.cloud.putBytes(t, "text.zip", "zip", []byte("text")),
			"unpack the bundle text.tgz: unexpected EOF":                                        b.cloud.putBytes(t, "text.tgz", "tgz", []byte("text")),
			"unpack the bundle text.tar: unexpected EOF":                                        b.cloud.putBytes(t, "text.tar", "tar", []byte("text")),
		} {
			d := b.run(revision)
			e := b.view(d.ID, "i-1").Events[1]
			if e.Name != downloadBundle || e.Status != statusFailed || e.Diagnostics.Code != codeUnknown || e.Diagnostics.Message != want {
				t.Errorf("%+v: %+v, want %q", e, e.Diagnostics, want)
			}
		}
	})
}

// TestScriptTimeLimits runs in true time: programs of this host do not know another.
func TestScriptTimeLimits(t *testing.T) {
	b := newBench(t, "i-1")
	defer b.Close()
	b.group(nil)
	const limited = "version: 0.0\nos: linux\nhooks:\n  BeforeInstall:\n  - {location: slow.sh, timeout: 2}\n"
	for script, want := range map[string]diagnostics{
		"#!/bin/sh\necho begun\nsleep 60\n":               {codeTimedOut, "slow.sh", "Script at specified location: slow.sh failed to complete in 2 seconds", ""},
		"#!/bin/sh\necho begun\nsleep 60 2>/dev/null &\n": {codeUnknown, "slow.sh", "Script at specified location: slow.sh failed to close STDOUT", ""},
		"#!/bin/sh\necho begun\nsleep 60 >/dev/null &\n":  {codeUnknown, "slow.sh", "Script at specified location: slow.sh failed to close STDERR", ""},
	} {
		d := b.run(b.cloud.put(t, "slow.zip", map[string]string{"appspec.yml": limited, "slow.sh": script}))
		got := *b.view(d.ID, "i-1").Events[2].Diagnostics
		want.LogTail = "LifecycleEvent - BeforeInstall\nScript - slow.sh\n[stdout]begun\n"
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: diagnostics (-want +got):\n%s", script, diff)
		}
	}
	// A program in the background that writes elsewhere is none of the deployment's business.
	d := b.run(b.cloud.put(t, "quick.zip", map[string]string{"appspec.yml": limited, "slow.sh": "#!/bin/sh\nsleep 5 >/dev/null 2>&1 &\n"}))
	if d.Status != statusSucceeded {
		t.Errorf("a script that closes its output: %s: %+v", d.Status, b.view(d.ID, "i-1").Events[2].Diagnostics)
	}
}

// TestRunBit gives a script the bit that it lacks, as the agent does.
func TestRunBit(t *testing.T) {
	inBubble(t, []string{"i-1"}, func(b *bench) {
		b.group(nil)
		files := map[string]string{"appspec.yml": spec("BeforeInstall", "a.sh"), "a.sh": "exit 0\n"}
		if d := b.run(b.cloud.put(t, "a.zip", files)); d.Status != statusSucceeded {
			t.Errorf("%s: %+v", d.Status, b.view(d.ID, "i-1").Events[2].Diagnostics)
		}
		run := b.memory.Run
		b.memory.Run = func(ctx context.Context, id string, c compute.Command) error {
			if len(c.Args) > 2 && c.Args[2] == checkScript {
				return &compute.ExitError{Code: exitNotExecutable}
			}
			return run(ctx, id, c)
		}
		d := b.run(b.cloud.put(t, "b.zip", files))
		want := diagnostics{codeNotExecutable, "a.sh", "Unable to set script at specified location: a.sh as executable", "LifecycleEvent - BeforeInstall\n"}
		if diff := cmp.Diff(want, *b.view(d.ID, "i-1").Events[2].Diagnostics); diff != "" {
			t.Errorf("diagnostics (-want +got):\n%s", diff)
		}
	})
}
