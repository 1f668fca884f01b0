package rollout

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStatus(t *testing.T) {
	tests := map[string]struct {
		change func(w *world)
		want   []string
	}{
		"as it should be": {},
		"no release yet":  {change: func(w *world) { *w = *newWorld() }},
		"a first release that was never verified": {
			change: func(w *world) { w.parameters = map[string][]string{} },
			want:   []string{"release pointer: none, but should be the release of launch template version 3, which runs and was never verified"},
		},
		"a release that was never verified": {
			change: func(w *world) {
				w.versions = append(w.versions, templateVersion{image: "ami-3", description: "release r3"})
				w.served(4, "r3")
			},
			want: []string{
				"group hello: launch template version 4 with image ami-3, but should be release r2 with image ami-2, as the release pointer says",
				"launch template lt-1: default version 3 with image ami-2, but should be launch template version 4, as the group says",
			},
		},
		"another default version": {
			change: func(w *world) { w.standard = 1 },
			want:   []string{"launch template lt-1: default version 1 with image ami-debian, but should be launch template version 3, as the group says"},
		},
		"a mixed fleet": {
			change: func(w *world) { w.running[1].TemplateVersion = 2 },
			want:   []string{"instance i-3-1: launch template version 2 r1, but should be launch template version 3, as the group says"},
		},
		"a fleet that is being replaced": {
			change: func(w *world) { w.begin("2"); w.running[1].TemplateVersion = 2 },
		},
		"a target of somebody else": {
			change: func(w *world) { w.strays = []string{"i-x"} },
			want:   []string{"target i-x: no instance of the group, but should be deregistered, as a release never reaches it"},
		},
		"infrastructure that was made again": {
			change: func(w *world) {
				w.versions = []templateVersion{{image: "ami-2"}}
				w.version, w.standard, w.running = "1", 1, fleet(1, 2)
			},
		},
		"no numbered version": {
			change: func(w *world) { w.version = "$Latest" },
			want:   []string{"group hello: launch template version $Latest, but should be a numbered version, without which nothing can be rolled back"},
		},
		"a standby instance": {
			change: func(w *world) { w.running[1].TemplateVersion, w.running[1].Lifecycle = 2, "Standby" },
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			w := live()
			w.step = func(*world) {}
			if tc.change != nil {
				tc.change(w)
			}
			s, err := w.roller(Options{}).Status(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, d := range s.Disagreements {
				got = append(got, d.String())
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
			if len(w.did) > 0 {
				t.Errorf("did %q", w.did)
			}
		})
	}
}

func TestStatusJSON(t *testing.T) {
	w := live()
	w.step = func(*world) {}
	w.running = w.running[:1]
	w.begin("2")
	w.refresh().StartTime = nil
	w.parameters["/ingot/hello/rollout"] = []string{`{"refresh":"refresh-1","release":"r1","by":"alice"}`}
	s, err := w.roller(Options{}).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	want := `{
 "current": {
  "release": "r2",
  "ami": "ami-2",
  "template_version": 3,
  "since": "0001-01-01T00:00:00Z"
 },
 "fleet": {
  "group": "hello",
  "template_id": "lt-1",
  "template_version": 3,
  "target_group": "tg",
  "url": "http://lb.example",
  "min": 2,
  "max": 4,
  "desired": 2,
  "instances": [
   {
    "id": "i-3-0",
    "zone": "",
    "template_version": 3,
    "lifecycle": "InService",
    "health": "Healthy",
    "target": "healthy",
    "release": "r2"
   }
  ]
 },
 "refresh": {
  "id": "refresh-1",
  "status": "InProgress",
  "percentage": 0,
  "begin": "0001-01-01T00:00:00Z",
  "template_version": 2,
  "release": "r1",
  "by": "alice"
 },
 "template": {
  "id": "lt-1",
  "default_version": 3,
  "default_ami": "ami-2",
  "group_ami": "ami-2"
 },
 "disagreements": []
}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}
