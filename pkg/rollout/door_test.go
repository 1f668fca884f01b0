package rollout

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/probe"
	"github.com/ingot-build/ingot/pkg/progress"
)

// replies makes a service that answers paths with statuses, and everything with its release.
func (w *world) replies(statuses map[string]int) {
	w.ask = func(request *http.Request) (*http.Response, error) {
		status := cmp.Or(statuses[request.URL.Path], http.StatusNotFound)
		if request.URL.Host != "lb.example" {
			status = http.StatusInternalServerError // a redirect was followed
		}
		header := http.Header{}
		if release := w.answers(); release != "" {
			header.Set(probe.ReleaseHeader, release)
		}
		if status == http.StatusFound {
			header.Set("Location", "https://login.example/")
		}
		return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(""))}, nil
	}
}

// firstOrNext is a world before a first release, and one whose next release is rolled out; each becomes healthy.
func firstOrNext(first bool) *world {
	w := old()
	if first {
		w = newWorld()
	}
	w.step = func(w *world) {
		switch {
		case first && w.desired > 0 && w.steps >= 4:
			w.served(2, "r2")
		case !first && w.runs() && w.steps >= 5:
			w.served(3, "r2")
		}
	}
	return w
}

// TestVerifyAsksTheHealthPath: what a service answers elsewhere is its own affair.
func TestVerifyAsksTheHealthPath(t *testing.T) {
	tests := map[string]struct {
		statuses map[string]int
		options  Options
		reverted bool
	}{
		"404 at /":                      {statuses: map[string]int{"/": 404, "/healthz": 200}},
		"401 at /":                      {statuses: map[string]int{"/": 401, "/healthz": 204}},
		"a page to sign in at":          {statuses: map[string]int{"/": 200, "/healthz": 302}},
		"another path":                  {statuses: map[string]int{"/": 200, "/healthz": 503}, options: Options{VerifyPath: "/"}},
		"another status":                {statuses: map[string]int{"/api": 401, "/healthz": 200}, options: Options{VerifyPath: "/api", VerifyStatuses: probe.Statuses{{From: 401, To: 401}}}},
		"a status that is not good":     {statuses: map[string]int{"/healthz": 404}, reverted: true},
		"a redirect that is not good":   {statuses: map[string]int{"/healthz": 302}, options: Options{VerifyStatuses: probe.Statuses{{From: 200, To: 299}}}, reverted: true},
		"a path where nothing is there": {statuses: map[string]int{"/healthz": 200}, options: Options{VerifyPath: "/other"}, reverted: true},
	}
	for name, tc := range tests {
		for _, first := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				in(t, func(t *testing.T) {
					w := firstOrNext(first)
					w.healthPath = new("/healthz")
					w.replies(tc.statuses)
					if tc.reverted {
						// Before any new instance serves, failures tell nothing; after it, the old release comes back.
						next := w.step
						w.step = func(w *world) {
							if len(w.refreshes) == 2 && w.runs() {
								w.served(2, "r1")
								return
							}
							next(w)
						}
					}
					got, err := w.roller(tc.options).Run(t.Context(), two)
					if tc.reverted {
						if !errors.Is(err, ErrUnhealthy) || first && !w.didStart("capacity 0") {
							t.Errorf("first %t: did %q, error = %v", first, w.did, err)
						}
						return
					}
					if err != nil || got.Unseen != "" || w.didStart("rollback") || w.didStart("capacity 0") {
						t.Errorf("first %t: did %q, %+v, error = %v", first, w.did, got, err)
					}
				})
			})
		}
	}
}

// TestWrongReleaseAtTheVerifiedPath: X-Release is compared where it is answered.
func TestWrongReleaseAtTheVerifiedPath(t *testing.T) {
	in(t, func(t *testing.T) {
		w := firstOrNext(true)
		w.healthPath = new("/healthz")
		w.replies(map[string]int{"/healthz": 200})
		w.step = func(w *world) {
			if w.desired > 0 {
				w.served(2, "r0")
			}
		}
		_, err := w.roller(Options{}).Run(t.Context(), two)
		if !errors.Is(err, ErrUnhealthy) || !strings.Contains(err.Error(), `http://lb.example/healthz answered HTTP 200 from release "r0"`) {
			t.Errorf("error = %v", err)
		}
	})
}

var errRefused = &net.OpError{Op: "dial", Err: errors.New("connection refused")}

// TestUnreachable: a load balancer that could not be reached before either is no fault of the release. The health of the
// targets decides, nothing is taken back, and the result says so.
func TestUnreachable(t *testing.T) {
	for name, first := range map[string]bool{"a first release": true, "the next one": false} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				w := firstOrNext(first)
				w.ask = func(*http.Request) (*http.Response, error) { return nil, errRefused }
				var out bytes.Buffer
				got, err := w.roller(Options{}).Run(progress.NewContext(t.Context(), progress.New(&out)), two)
				if err != nil || !strings.Contains(got.Unseen, "connection refused") || got.Instances != 2 {
					t.Fatalf("%+v, %v", got, err)
				}
				if w.didStart("rollback") || w.didStart("capacity 0") || w.did[len(w.did)-1] != "put "+pointerName {
					t.Errorf("did %q", w.did)
				}
				for _, text := range []string{
					"the load balancer cannot be reached from here, so that the health of its targets decides", "connection refused",
					"not verified from here: ", "all targets are healthy, and that decides",
				} {
					if !strings.Contains(out.String(), text) {
						t.Errorf("no %q in:\n%s", text, &out)
					}
				}
			})
		})
	}
	t.Run("nothing to replace", func(t *testing.T) {
		in(t, func(t *testing.T) {
			w := old()
			w.ask = func(*http.Request) (*http.Response, error) { return nil, errRefused }
			got, err := w.roller(Options{}).Run(t.Context(), one)
			if err != nil || got.Unseen == "" || got.Replaced {
				t.Errorf("%+v, %v", got, err)
			}
		})
	})
	t.Run("a bad release", func(t *testing.T) {
		in(t, func(t *testing.T) {
			w := firstOrNext(true)
			w.ask = func(*http.Request) (*http.Response, error) { return nil, errRefused }
			w.step = func(w *world) {
				if w.desired > 0 {
					w.running = []Instance{newcomer("i-1", "InService", "Healthy", "unhealthy", "Target.Timeout")}
					w.running[0].TemplateVersion = 2
				}
			}
			if _, err := w.roller(Options{}).Run(t.Context(), two); !errors.Is(err, ErrEmptied) {
				t.Errorf("error = %v", err)
			}
		})
	})
	t.Run("reachable by then", func(t *testing.T) {
		in(t, func(t *testing.T) {
			w := firstOrNext(false)
			begin := time.Now()
			w.ask = func(*http.Request) (*http.Response, error) {
				if time.Since(begin) < time.Second {
					return nil, errRefused
				}
				return &http.Response{StatusCode: 200, Header: http.Header{"X-Release": {"r0"}}, Body: http.NoBody}, nil
			}
			// What can be asked after all counts: it is another release.
			w.step = func(w *world) {
				switch {
				case len(w.refreshes) == 1 && w.runs() && w.steps >= 5:
					w.served(3, "r0")
				case len(w.refreshes) == 2 && w.runs():
					w.served(2, "r1")
				}
			}
			if _, err := w.roller(Options{}).Run(t.Context(), two); !errors.Is(err, ErrReverted) {
				t.Errorf("error = %v", err)
			}
		})
	})
}

// TestOutOfReach: this machine lost its way to the load balancer in the middle. Nothing is proved, and nothing is taken back
// for it.
func TestOutOfReach(t *testing.T) {
	for name, back := range map[string]bool{"for good": false, "for a minute": true} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				w := firstOrNext(false)
				w.ask = func(*http.Request) (*http.Response, error) {
					if w.is("Successful") && !(back && time.Since(*w.refresh().StartTime) > time.Minute) {
						return nil, errRefused
					}
					return &http.Response{StatusCode: 200, Header: http.Header{"X-Release": {w.answers()}}, Body: http.NoBody}, nil
				}
				got, err := w.roller(Options{}).Run(t.Context(), two)
				if back {
					if err != nil || got.Unseen != "" {
						t.Errorf("%+v, %v", got, err)
					}
					return
				}
				want := `the load balancer can no longer be reached from here: http://lb.example answered Get "http://lb.example": dial: connection refused; every instance of hello runs release r2, which is not verified`
				if err == nil || err.Error() != want {
					t.Errorf("error = %v\nwant    %s", err, want)
				}
				checkLeft(t, err, InterruptedError{State: Unverified})
				if diff := gocmp.Diff([]string{"version 3 of ami-2 from 2: release r2", "refresh to 3"}, w.did); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// TestDomain: the load balancer is connected to by its own name, and asked for the domain, whose certificate it has to show.
func TestDomain(t *testing.T) {
	var asked []string
	server := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.TLS.ServerName+" "+r.Host+r.URL.Path)
	}))
	defer server.Close()
	client := server.Client()
	client.Transport.(*http.Transport).DialContext = nil // it would lead to the server anyway
	address, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	r := newRoller(newWorld().clients(), Options{App: "hello", Domain: "example.com", HTTP: client})
	f := Fleet{URL: "https://example.com:" + address.Port(), Balancer: Balancer{Host: address.Hostname(), HealthCheck: HealthCheck{Path: "/healthz"}}}
	if s := r.doorOf(f).ask(t.Context(), 0); s.Failed() {
		t.Error(s)
	}
	if want := []string{"example.com example.com:" + address.Port() + "/healthz"}; !slices.Equal(asked, want) {
		t.Errorf("asked %q, want %q", asked, want)
	}
	want := probe.Options{URL: f.URL + "/healthz", Address: "127.0.0.1"}
	if diff := gocmp.Diff(want, r.ProbeOptions(f)); diff != "" {
		t.Error(diff)
	}
}
