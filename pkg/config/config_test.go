package config

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/probe"
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
	if got.Service.Port != 9000 || got.Service.Health != "/healthz" || got.Rollout.Warmup != 90*time.Second {
		t.Errorf("%+v %+v", got.Service, got.Rollout)
	}
}

// TestWarmupWithoutGate: what is not said suits; a file that says less than that is refused, see TestParseErrors.
func TestWarmupWithoutGate(t *testing.T) {
	const off = "app = \"hello\"\ncodedeploy {\n  enabled = false\n}\n"
	for src, want := range map[string]time.Duration{
		`app = "hello"`: 30 * time.Second,
		"app = \"hello\"\nrollout {\n  warmup = \"5s\"\n}": 5 * time.Second,
		off:                                       time.Minute,
		off + "rollout {\n  warmup = \"60s\"\n}":  time.Minute,
		off + "rollout {\n  warmup = \"2m\"\n}":   2 * time.Minute,
		off + "rollout {\n  max_healthy = 150\n}": time.Minute,
	} {
		got, err := Parse([]byte(src), File)
		if err != nil || got.Rollout.Warmup != want {
			t.Errorf("%s: %+v, %v", src, got, err)
		}
	}
}

func TestParseVerify(t *testing.T) {
	got, err := Parse([]byte("app = \"hello\"\nverify {\n  path   = \"/\"\n  status = \"200,401-404\"\n}\n"), File)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(probe.Statuses{{From: 200, To: 200}, {From: 401, To: 404}}, got.Verify.Statuses()); diff != "" || got.Verify.Path != "/" {
		t.Errorf("%+v: %s", got.Verify, diff)
	}
}

// TestStartWithin: a service that takes its time to start has as much wherever it is waited for.
func TestStartWithin(t *testing.T) {
	for src, want := range map[string][2]time.Duration{
		``: {30 * time.Second, 30 * time.Second}, `service { start_within = "2m" }`: {2 * time.Minute, 2 * time.Minute}, `service { start_within = "10s" }`: {10 * time.Second, 30 * time.Second},
		"service { start_within = \"2m\" }\nrollout { warmup = \"1s\" }":    {2 * time.Minute, time.Second},
		"service { start_within = \"2m\" }\ncodedeploy { enabled = false }": {2 * time.Minute, 2 * time.Minute},
		"service { start_within = \"5s\" }\ncodedeploy { enabled = false }": {5 * time.Second, time.Minute},
	} {
		c, err := Parse([]byte("app = \"hello\"\n"+src), File)
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		if got := [2]time.Duration{c.Service.StartWithin, c.Rollout.Warmup}; got != want {
			t.Errorf("%s: start within, warm-up: %v, want %v", src, got, want)
		}
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
		"name":           {`app = "Hello World"`, `ingot.hcl:1:7: app is "Hello World": allowed is a name of 3 to 24 lower-case letters, digits and hyphens that begins with a letter`},
		"short name":     {`app = "hi"`, `ingot.hcl:1:7: app is "hi": allowed is a name of 3 to 24 lower-case letters, digits and hyphens that begins with a letter`},
		"reserved name":  {`app = "sg-hello"`, `ingot.hcl:1:7: app is "sg-hello": allowed is a name that does not begin with internal-, sg-, xn--, sthree- or amzn-s3-demo-, which AWS keeps for itself`},
		"region":         {"app = \"hello\"\nregion = \"mars\"", `ingot.hcl:2:10: region is "mars": allowed is a region such as "us-west-1"`},
		"range":          {"app = \"hello\"\nfleet {\n  min = 5\n  max = 3\n}", `ingot.hcl:4:9: fleet.max is 3: allowed is fleet.min (5) to 1000`},
		"duration":       {"app = \"hello\"\nrollout {\n  warmup = \"soon\"\n}", `ingot.hcl:3:12: rollout.warmup is "soon": allowed is a duration in whole seconds up to 1h, such as "30s"`},
		"no unit":        {"app = \"hello\"\nrollout {\n  warmup = 30\n}", `ingot.hcl:3:12: rollout.warmup is "30": allowed is a duration in whole seconds up to 1h, such as "30s"`},
		"no duration":    {"app = \"hello\"\nrollout {\n  warmup = [30]\n}", `ingot.hcl:3:12: Unsuitable value type: Unsuitable value: string required, but have tuple`},
		"two problems":   {"app = \"hello\"\nservice {\n  port = 22\n}\nrollout {\n  bake_time = \"1ms\"\n}", "ingot.hcl:3:10: service.port is 22: allowed is 1 to 65535, but not 22, which is SSH's, or 0 for a worker, which listens nowhere\n" + `ingot.hcl:6:15: rollout.bake_time is "1ms": allowed is a duration in whole seconds up to 48h, such as "5m"`},
		"port":           {"app = \"hello\"\nservice {\n  port = 22\n}", `ingot.hcl:3:10: service.port is 22: allowed is 1 to 65535, but not 22, which is SSH's, or 0 for a worker, which listens nowhere`},
		"outside":        {"app = \"hello\"\nservice {\n  source = \"/x\"\n}", `ingot.hcl:3:12: service.source is "/x": allowed is a folder of the repository, as a path from the folder of this file`},
		"architecture":   {"app = \"hello\"\nimage {\n  architecture = \"amd64\"\n}", `ingot.hcl:3:18: image.architecture is "amd64": allowed is "x86_64" or "arm64"`},
		"tiny":           {"app = \"hello\"\nimage {\n  instance_type = \"t3.micro\"\n}", `ingot.hcl:3:19: image.instance_type is "t3.micro": allowed is an instance type with at least 2 GiB of memory, such as "t3.medium"`},
		"other machine":  {"app = \"hello\"\nimage {\n  instance_type = \"t4g.medium\"\n}", `ingot.hcl:3:19: image.instance_type is "t4g.medium": allowed is a type that runs image.architecture, x86_64`},
		"subnet":         {"app = \"hello\"\nimage {\n  subnet = \"public-1\"\n}", `ingot.hcl:3:12: image.subnet is "public-1": allowed is the ID of a subnet such as "subnet-0123456789abcdef0", or nothing`},
		"key":            {"app = \"hello\"\nimage {\n  kms_key = \"mine\"\n}", `ingot.hcl:3:13: image.kms_key is "mine": allowed is the ID, the alias ("alias/NAME") or the ARN of a KMS key, or nothing`},
		"world":          {"app = \"hello\"\nimage {\n  ssh_cidrs = [\"10.0.0.0/8\", \"0.0.0.0/0\"]\n}", `ingot.hcl:3:15: image.ssh_cidrs is ["10.0.0.0/8" "0.0.0.0/0"]: allowed is address blocks such as "203.0.113.7/32", but not every address there is`},
		"checkpoints":    {"app = \"hello\"\nrollout {\n  checkpoints = [50, 20]\n}", `ingot.hcl:3:17: rollout.checkpoints is [50 20]: allowed is percentages from 1 to 100, each greater than the one before`},
		"bake time":      {"app = \"hello\"\nrollout {\n  bake_time = \"49h\"\n}", `ingot.hcl:3:15: rollout.bake_time is "49h": allowed is a duration in whole seconds up to 48h, such as "5m"`},
		"alarms":         {"app = \"hello\"\nrollout {\n  alarms = [\"\"]\n}", `ingot.hcl:3:12: rollout.alarms is [""]: allowed is up to 10 names of CloudWatch alarms`},
		"standby":        {"app = \"hello\"\nrollout {\n  standby = \"keep\"\n}", `ingot.hcl:3:13: rollout.standby is "keep": allowed is "ignore" or "terminate" or "wait"`},
		"protected":      {"app = \"hello\"\nrollout {\n  protected = \"\"\n}", `ingot.hcl:3:15: rollout.protected is "": allowed is "refresh" or "ignore" or "wait"`},
		"repository":     {"app = \"hello\"\ngithub {\n  repository = \"hello\"\n}", `ingot.hcl:3:16: github.repository is "hello": allowed is a repository such as "ORG/REPO", or nothing`},
		"one ID":         {"app = \"hello\"\ngithub {\n  repository = \"o/r\"\n  owner_id = \"1\"\n}", `ingot.hcl:2:1: github.repository_id is "": allowed is both github.owner_id and github.repository_id, or neither`},
		"bucket":         {"app = \"hello\"\nstate {\n  bucket = \"My_Bucket\"\n}", `ingot.hcl:3:12: state.bucket is "My_Bucket": allowed is the name of an S3 bucket (3 to 63 lower-case letters, digits, dots and hyphens), or nothing`},
		"verify path":    {"app = \"hello\"\nverify {\n  path = \"healthz\"\n}", `ingot.hcl:3:10: verify.path is "healthz": allowed is a path such as "/healthz", or nothing for service.health`},
		"verify status":  {"app = \"hello\"\nverify {\n  status = \"2xx\"\n}", `ingot.hcl:3:12: verify.status is "2xx": allowed is HTTP statuses and ranges of them, such as "200-399" or "200,404", or nothing for "200-399"`},
		"no gate":        {"app = \"hello\"\nrollout {\n  warmup = \"30s\"\n}\ncodedeploy {\n  enabled = false\n}", `ingot.hcl:3:12: rollout.warmup is "30s": allowed is 1m or more without CodeDeploy: nothing holds a new instance then until it serves, and it counts as in service before it has booted`},
		"S3's bucket":    {"app = \"hello\"\nstate {\n  bucket = \"hello.mrap\"\n}", `ingot.hcl:3:12: state.bucket is "hello.mrap": allowed is a name that does not begin with xn--, sthree- or amzn-s3-demo-, nor end with -s3alias, --ol-s3, .mrap, --x-s3 or --table-s3, which S3 keeps for itself`},
		"blind worker":   {"app = \"hello\"\nservice {\n  port = 0\n}\ncodedeploy {\n  enabled = false\n}", `ingot.hcl:6:13: codedeploy.enabled is false: allowed is true for a worker (service.port is 0): nothing else sees whether it works`},
		"worker's name":  {"app = \"hello\"\nservice {\n  port = 0\n}\nfleet {\n  domain = \"www.example.com\"\n}", `ingot.hcl:3:10: service.port is 0: allowed is a port, where fleet.certificate_arn, fleet.domain or verify.path is set`},
		"another zone":   {"app = \"hello\"\nfleet {\n  domain = \"www.example.com\"\n  zone = \"ample.com\"\n}", `ingot.hcl:4:10: fleet.zone is "ample.com": allowed is the zone of fleet.domain: example.com for www.example.com`},
		"cpu":            {"app = \"hello\"\nfleet {\n  cpu_target = 95\n}", `ingot.hcl:3:16: fleet.cpu_target is 95: allowed is 10 to 90 percent`},
		"disk":           {"app = \"hello\"\nfleet {\n  disk_size = -1\n}", `ingot.hcl:3:15: fleet.disk_size is -1: allowed is 1 to 16384 GiB, no less than the image's, or 0 for that`},
		"clients":        {"app = \"hello\"\nfleet {\n  client_cidrs = [\"203.0.113.7/24\"]\n}", `ingot.hcl:3:18: fleet.client_cidrs is ["203.0.113.7/24"]: allowed is IPv4 address blocks such as "203.0.113.0/24"`},
		"egress":         {"app = \"hello\"\nfleet {\n  egress_ports = [443]\n}", `ingot.hcl:3:18: fleet.egress_ports is [443]: allowed is ports from 1 to 65535; 443 is among them already`},
		"at once":        {"app = \"hello\"\nservice {\n  start_within = \"0s\"\n}", `ingot.hcl:3:18: service.start_within is "0s": allowed is 1s or more`},
		"at last":        {"app = \"hello\"\nservice {\n  start_within = \"2h\"\n}", `ingot.hcl:3:18: service.start_within is "2h": allowed is a duration in whole seconds up to 1h, such as "2m"`},
		"address":        {"app = \"hello\"\nstate {\n  bucket = \"192.0.2.1\"\n}", `ingot.hcl:3:12: state.bucket is "192.0.2.1": allowed is the name of an S3 bucket (3 to 63 lower-case letters, digits, dots and hyphens), or nothing`},
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

func TestParseImage(t *testing.T) {
	const text = `
app = "hello"
image {
  name          = "debian-13-arm64-*"
  architecture  = "arm64"
  instance_type = "m7g.large"
  subnet        = "subnet-0123456789abcdef0"
  kms_key       = "arn:aws:kms:eu-central-1:111122223333:key/01234567-89ab-cdef-0123-456789abcdef"
  ssh_cidrs     = ["203.0.113.7/32", "2001:db8::1/128"]
}
`
	got, err := Parse([]byte(text), File)
	if err != nil {
		t.Fatal(err)
	}
	want := *Default().Image
	want.Name, want.Architecture, want.InstanceType, want.Subnet = "debian-13-arm64-*", "arm64", "m7g.large", "subnet-0123456789abcdef0"
	want.KMSKey = "arn:aws:kms:eu-central-1:111122223333:key/01234567-89ab-cdef-0123-456789abcdef"
	want.SSHCIDRs = []string{"203.0.113.7/32", "2001:db8::1/128"}
	if diff := cmp.Diff(&want, got.Image); diff != "" {
		t.Error(diff)
	}
	for _, key := range []string{"alias/mine", "01234567-89ab-cdef-0123-456789abcdef", "mrk-0123456789abcdef0123456789abcdef", "arn:aws-cn:kms:cn-north-1:111122223333:alias/a/b"} {
		if _, err := Parse([]byte("app = \"hello\"\nimage {\n  kms_key = \""+key+"\"\n}"), File); err != nil {
			t.Errorf("%s: %v", key, err)
		}
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
