package config

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseDefaults(t *testing.T) {
	got, err := Parse([]byte(`app = "hello"`), File)
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.App = "hello"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestParseKeepsOtherDefaultsOfABlock(t *testing.T) {
	got, err := Parse([]byte("app = \"hello\"\nservice {\n  port = 9000\n}\nrollout {\n  warmup = \"1m30s\"\n}\n"), File)
	if err != nil {
		t.Fatal(err)
	}
	if got.Service.Port != 9000 || got.Service.Health != "/healthz" || got.Rollout.WarmupDuration().Seconds() != 90 {
		t.Errorf("%+v %+v", got.Service, got.Rollout)
	}
}

func TestParseErrors(t *testing.T) {
	tests := map[string]struct{ src, want string }{
		"missing app":    {``, `ingot.hcl:1:1: Missing required argument: The argument "app" is required, but no definition was found.`},
		"unknown key":    {"app = \"hello\"\nreplicas = 3", `ingot.hcl:2:1: Unsupported argument: An argument named "replicas" is not expected here.`},
		"unknown in":     {"app = \"hello\"\nfleet {\n  size = 3\n}", `ingot.hcl:3:3: Unsupported argument: An argument named "size" is not expected here.`},
		"unknown block":  {"app = \"hello\"\ncluster {}", `ingot.hcl:2:1: Unsupported block type: Blocks of type "cluster" are not expected here.`},
		"twice":          {"app = \"hello\"\nfleet {}\nfleet {}", `ingot.hcl:3:1: Duplicate fleet block: Only one fleet block is allowed. Another was defined at ingot.hcl:2,1-6.`},
		"wrong type":     {"app = \"hello\"\nfleet {\n  min = \"two\"\n}", `ingot.hcl:3:10: Unsuitable value type: Unsuitable value: a number is required`},
		"fraction":       {"app = \"hello\"\nfleet {\n  min = 1.5\n}", `ingot.hcl:3:9: Unsuitable value type: Unsuitable value: value must be a whole number, between -9223372036854775808 and 9223372036854775807`},
		"syntax":         {"app = ", `ingot.hcl:1:7: Missing expression: Expected the start of an expression, but found the end of the file.`},
		"name":           {`app = "Hello World"`, `ingot.hcl:1:7: app is "Hello World": allowed is a name of 2 to 24 lower-case letters, digits and hyphens that begins with a letter`},
		"region":         {"app = \"hello\"\nregion = \"mars\"", `ingot.hcl:2:10: region is "mars": allowed is a region such as "us-west-1"`},
		"range":          {"app = \"hello\"\nfleet {\n  min = 5\n  max = 3\n}", `ingot.hcl:4:9: fleet.max is 3: allowed is fleet.min (5) to 1000`},
		"duration":       {"app = \"hello\"\nrollout {\n  warmup = \"soon\"\n}", `ingot.hcl:3:12: rollout.warmup is "soon": allowed is a duration in whole seconds up to 1h, such as "30s"`},
		"port":           {"app = \"hello\"\nservice {\n  port = 22\n}", `ingot.hcl:3:10: service.port is 22: allowed is 1 to 65535, but not 22, which is SSH's`},
		"outside":        {"app = \"hello\"\nservice {\n  source = \"../x\"\n}", `ingot.hcl:3:12: service.source is "../x": allowed is a folder inside the repository`},
		"architecture":   {"app = \"hello\"\nimage {\n  architecture = \"amd64\"\n}", `ingot.hcl:3:18: image.architecture is "amd64": allowed is "x86_64" or "arm64"`},
		"checkpoints":    {"app = \"hello\"\nrollout {\n  checkpoints = [50, 20]\n}", `ingot.hcl:3:17: rollout.checkpoints is [50 20]: allowed is percentages from 1 to 100, each greater than the one before`},
		"bake time":      {"app = \"hello\"\nrollout {\n  bake_time = \"49h\"\n}", `ingot.hcl:3:15: rollout.bake_time is "49h": allowed is a duration in whole seconds up to 48h, such as "5m"`},
		"alarms":         {"app = \"hello\"\nrollout {\n  alarms = [\"\"]\n}", `ingot.hcl:3:12: rollout.alarms is [""]: allowed is up to 10 names of CloudWatch alarms`},
		"standby":        {"app = \"hello\"\nrollout {\n  standby = \"keep\"\n}", `ingot.hcl:3:13: rollout.standby is "keep": allowed is "ignore" or "terminate" or "wait"`},
		"protected":      {"app = \"hello\"\nrollout {\n  protected = \"\"\n}", `ingot.hcl:3:15: rollout.protected is "": allowed is "refresh" or "ignore" or "wait"`},
		"repository":     {"app = \"hello\"\ngithub {\n  repository = \"hello\"\n}", `ingot.hcl:3:16: github.repository is "hello": allowed is a repository such as "ORG/REPO", or nothing`},
		"one ID":         {"app = \"hello\"\ngithub {\n  repository = \"o/r\"\n  owner_id = \"1\"\n}", `ingot.hcl:2:1: github.repository_id is "": allowed is both github.owner_id and github.repository_id, or neither`},
		"bucket":         {"app = \"hello\"\nstate {\n  bucket = \"My_Bucket\"\n}", `ingot.hcl:3:12: state.bucket is "My_Bucket": allowed is the name of an S3 bucket (3 to 63 lower-case letters, digits, dots and hyphens), or nothing`},
		"healthy spread": {"app = \"hello\"\nrollout {\n  min_healthy = 50\n}", `ingot.hcl:2:1: rollout.max_healthy is 200: allowed is at most 100 more than rollout.min_healthy (50)`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(tc.src), File)
			e, ok := errors.AsType[*Error](err)
			if !ok {
				t.Fatalf("error = %v", err)
			}
			if diff := cmp.Diff(tc.want, e.Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFind(t *testing.T) {
	root := t.TempDir()
	deep := filepath.Join(root, "a", "b")
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(deep); !errors.Is(err, ErrNotFound) {
		t.Errorf("error = %v", err)
	}
	if err := os.WriteFile(filepath.Join(root, File), []byte(`app = "hello"`), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := Find(deep)
	if err != nil || c.Root != root {
		t.Errorf("Find = %+v, %v", c, err)
	}
}

// FuzzParse: whatever the file holds, there is a configuration or an *Error, and a valid one is inside its bounds.
func FuzzParse(f *testing.F) {
	f.Fuzz(func(t *testing.T, src []byte) {
		c, err := Parse(src, File)
		if err != nil {
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Fatalf("error of another type: %v", err)
			}
			return
		}
		if c.Fleet.Min < 1 || c.Fleet.Max < c.Fleet.Min || !appPattern.MatchString(c.App) {
			t.Errorf("accepted %+v", c)
		}
	})
}
