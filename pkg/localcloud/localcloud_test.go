package localcloud

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/compute"
)

// First arguments that make the test binary serve the cloud in the folder of the second, on a backend that runs nothing, or on Docker.
const (
	serveMemory = "serve-memory"
	serveDocker = "serve-docker"
)

func TestMain(m *testing.M) {
	connect := map[string]connector{serveMemory: connectMemory, serveDocker: connectDocker}[append(os.Args, "")[1]]
	if connect == nil {
		os.Exit(m.Run())
	}
	err := serveFolder(context.Background(), Options{StateDir: os.Args[2], Region: "us-west-1", Log: os.Stdout}, connect)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// connectMemory is a backend that runs nothing.
func connectMemory(context.Context, string) (backend, error) {
	return backend{
		compute: &compute.Memory{}, purge: func(context.Context) error { return nil }, close: func() {},
		save: func(context.Context, string) error { return nil }, load: func(context.Context, string) error { return nil },
	}, nil
}

// testOptions returns the options of a cloud that the test binary serves, and purges it with the test.
func testOptions(t *testing.T) Options {
	dir := filepath.Join(t.TempDir(), "cloud")
	t.Cleanup(func() {
		if err := purge(context.Background(), dir, connectMemory); err != nil {
			t.Error(err)
		}
	})
	return Options{StateDir: dir, Region: "us-west-1", Command: []string{os.Args[0], serveMemory, dir}}
}

func parameters(c Connection) *ssm.Client {
	return ssm.New(ssm.Options{
		Region: c.Region, BaseEndpoint: &c.Endpoint,
		Credentials: credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, ""),
	})
}

func serverPID(t *testing.T, o Options) int {
	t.Helper()
	running, ok, err := folder(o.StateDir).server()
	if err != nil || !ok {
		t.Fatalf("server() = %v, %v", ok, err)
	}
	return running.PID
}

func TestStartKeepsStateOverKillAndStop(t *testing.T) {
	o := testOptions(t)
	first, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	_, err = parameters(first).PutParameter(t.Context(), &ssm.PutParameterInput{
		Name: aws.String("/ingot/hello/release"), Value: aws.String("ami-1"), Type: types.ParameterTypeString,
	})
	if err != nil {
		t.Fatal(err)
	}
	again, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("connection of a running cloud (-first +again):\n%s", diff)
	}
	ends := map[string]func() error{
		"kill":    func() error { return syscall.Kill(serverPID(t, o), syscall.SIGKILL) },
		"stop":    func() error { return stop(t.Context(), o.StateDir, connectMemory) },
		"SIGTERM": func() error { return syscall.Kill(serverPID(t, o), syscall.SIGTERM) },
	}
	for name, end := range ends {
		before := serverPID(t, o)
		if err := end(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if ended, err := folder(o.StateDir).waitEnded(t.Context(), 5*time.Second); err != nil || !ended {
			t.Fatalf("%s: the server does not end: %v", name, err)
		}
		c, err := Start(t.Context(), o)
		if err != nil {
			t.Fatalf("start after %s: %v", name, err)
		}
		if diff := cmp.Diff(first, c); diff != "" {
			t.Errorf("connection after %s (-first +then):\n%s", name, diff)
		}
		if now := serverPID(t, o); now == before {
			t.Errorf("after %s the same process %d serves", name, now)
		}
		out, err := parameters(c).GetParameter(t.Context(), &ssm.GetParameterInput{Name: aws.String("/ingot/hello/release")})
		if err != nil {
			t.Fatalf("after %s: %v", name, err)
		}
		if got := aws.ToString(out.Parameter.Value); got != "ami-1" {
			t.Errorf("parameter after %s = %q, want ami-1", name, got)
		}
	}
}

func TestStartTwiceAtOnce(t *testing.T) {
	o := testOptions(t)
	var group sync.WaitGroup
	connections := make([]Connection, 4)
	for i := range connections {
		group.Go(func() {
			var err error
			if connections[i], err = Start(t.Context(), o); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for _, c := range connections {
		if diff := cmp.Diff(connections[0], c); diff != "" {
			t.Errorf("connections differ:\n%s", diff)
		}
	}
}

func TestStartReplacesAnotherBuild(t *testing.T) {
	o := testOptions(t)
	if _, err := Start(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	before := serverPID(t, o)
	binary, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, append(binary, "another build"...), 0o700); err != nil {
		t.Fatal(err)
	}
	o.Command[0] = other
	if _, err := Start(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if serverPID(t, o) == before {
		t.Error("the server of the first build still serves")
	}
}

func TestStartErrors(t *testing.T) {
	t.Run("the server ends", func(t *testing.T) {
		o := testOptions(t)
		o.Command = []string{"sh", "-c", "echo no engine >&2; exit 3"}
		_, err := Start(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), "no engine") || !strings.Contains(err.Error(), "exit status 3") {
			t.Errorf("Start = %v, want the exit status and the end of the log", err)
		}
	})
	t.Run("another region", func(t *testing.T) {
		o := testOptions(t)
		if _, err := Start(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		o.Region = "eu-west-1"
		if _, err := Start(t.Context(), o); err == nil || !strings.Contains(err.Error(), "us-west-1") {
			t.Errorf("Start = %v, want an error that names the cloud's region", err)
		}
	})
	t.Run("no region", func(t *testing.T) {
		o := testOptions(t)
		o.Region = "mars-north-1"
		if _, err := Start(t.Context(), o); err == nil || !strings.Contains(err.Error(), "mars-north-1") {
			t.Errorf("Start = %v, want an error that names the region", err)
		}
	})
	t.Run("damaged", func(t *testing.T) {
		for _, name := range []string{"cloud", "iam", "ssm"} {
			o := testOptions(t)
			if _, err := Start(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			if err := syscall.Kill(serverPID(t, o), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(o.StateDir, name+".json"), []byte(`{"Parameters":`), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Start(t.Context(), o); err == nil || !strings.Contains(err.Error(), "damaged") {
				t.Errorf("%s: Start = %v, want an error that says what is damaged", name, err)
			}
		}
	})
}

func TestPurge(t *testing.T) {
	o := testOptions(t)
	c, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	// Damaged beyond recognition, and running.
	for _, name := range []string{"cloud.json", "server.json"} {
		if err := os.WriteFile(filepath.Join(o.StateDir, name), []byte("?"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := purge(t.Context(), o.StateDir, connectMemory); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(o.StateDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after the purge the folder is there: %v", err)
	}
	if err := ask(t.Context(), c, "Ping", struct{}{}, &struct{}{}); err == nil {
		t.Error("after the purge the server answers")
	}
	if err := purge(t.Context(), o.StateDir, connectMemory); err != nil {
		t.Errorf("purge again: %v", err)
	}
}

func TestPurgeRefusesOtherFolders(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "precious")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := purge(t.Context(), dir, connectMemory); err == nil {
		t.Error("purge of a folder that is not a cloud's succeeds")
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}

// What is left of a cloud that could not start is removed.
func TestPurgeAfterAFailedStart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "local")
	f, err := openFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.identify(Options{Region: "us-west-1"}); err != nil {
		t.Fatal(err)
	}
	if err := purge(t.Context(), dir, connectMemory); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the folder is left: %v", err)
	}
}

func TestServeTwice(t *testing.T) {
	o := testOptions(t)
	if _, err := Start(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if err := serveFolder(t.Context(), o, connectMemory); err == nil || !strings.Contains(err.Error(), "served already") {
		t.Errorf("serveFolder = %v, want an error that says it is served already", err)
	}
}

func TestStateIsPrivate(t *testing.T) {
	o := testOptions(t)
	if err := os.Mkdir(o.StateDir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(o.StateDir, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %s, want none for group and others", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestHostHeader(t *testing.T) {
	o := testOptions(t)
	c, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]int{
		"": http.StatusForbidden, "localhost:4566": http.StatusForbidden, "127.0.0.1": http.StatusForbidden,
		"rebound.example.com": http.StatusMisdirectedRequest, "10.0.0.1:4566": http.StatusMisdirectedRequest,
		"127.0.0.1.example.com": http.StatusMisdirectedRequest,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.Endpoint, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("Host %q: status %d, want %d", host, resp.StatusCode, want)
		}
	}
}

func TestStatus(t *testing.T) {
	o := testOptions(t)
	c, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Status(t.Context(), o.StateDir)
	if err != nil {
		t.Fatal(err)
	}
	want := CloudStatus{
		Running: true, StateDir: o.StateDir, PID: serverPID(t, o), Endpoint: c.Endpoint, Region: "us-west-1", AccountID: c.AccountID,
		URLs: []string{}, Machines: []MachineStatus{}, Images: []ImageStatus{},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	if err := stop(t.Context(), o.StateDir, connectMemory); err != nil {
		t.Fatal(err)
	}
	if got, err = Status(t.Context(), o.StateDir); err != nil || got.Running || got.PID != 0 {
		t.Errorf("status of a stopped cloud = %+v, %v", got, err)
	}
}

func TestEnviron(t *testing.T) {
	c := Connection{Endpoint: "http://127.64.0.1:4566", Region: "us-west-1", AccessKeyID: "AKIA", SecretAccessKey: "s'", AccountID: "012345678901"}
	got := c.Environ([]string{
		"HOME=/root", "AWS_PROFILE=work", "AWS_SESSION_TOKEN=t", "AWS_ENDPOINT_URL_S3=https://s3.example.com", "AWS_REGION=eu-west-1",
		"AWS_CA_BUNDLE=/ca", "AWS_ENDPOINT_URL=x",
	})
	want := []string{
		"HOME=/root", "AWS_CA_BUNDLE=/ca", "AWS_ENDPOINT_URL=http://127.64.0.1:4566", "AWS_REGION=us-west-1",
		"AWS_DEFAULT_REGION=us-west-1", "AWS_ACCESS_KEY_ID=AKIA", "AWS_SECRET_ACCESS_KEY=s'", "AWS_EC2_METADATA_DISABLED=true",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	if script := c.Script(nil); !strings.Contains(script, `export AWS_SECRET_ACCESS_KEY='s'\'''`) {
		t.Errorf("script does not quote:\n%s", script)
	}
}

// A shell that evaluates the script has what Environ returns, whatever was set in it.
func TestScript(t *testing.T) {
	c := Connection{Endpoint: "http://127.64.0.1:4566", Region: "us-west-1", AccessKeyID: "AKIA", SecretAccessKey: "s'", AccountID: "012345678901"}
	before := []string{"PATH=" + os.Getenv("PATH"), "AWS_CA_BUNDLE=/ca", "AWS_ENDPOINT_URL_S3=https://s3.example.com", "AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2=x"}
	for _, name := range clearedNames {
		before = append(before, name+"=x")
	}
	shell := exec.Command("sh", "-c", c.Script(before)+"env")
	shell.Env = before
	out, err := shell.Output()
	if err != nil {
		t.Fatal(err)
	}
	isForeign := func(variable string) bool { return !strings.HasPrefix(variable, "AWS_") }
	got := slices.Sorted(slices.Values(slices.DeleteFunc(strings.Fields(string(out)), isForeign)))
	want := slices.Sorted(slices.Values(slices.DeleteFunc(c.Environ(before), isForeign)))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("environment (-Environ +shell):\n%s", diff)
	}
}

// endless is a listener to which clients come without end.
type endless struct{ net.Listener }

func (endless) Accept() (net.Conn, error) {
	conn, _ := net.Pipe()
	return conn, nil
}

// TestConnectionsAreLimited accepts a connection too many, which waits until another one is closed.
func TestConnectionsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &limited{endless{}, make(chan struct{}, 2)}
		first, _ := l.Accept()
		_, _ = l.Accept()
		accepted := false
		go func() {
			_, _ = l.Accept()
			accepted = true
		}()
		synctest.Wait()
		if accepted {
			t.Error("three connections are open, want two at most")
		}
		first.Close()
		first.Close() // net/http closes a connection more than once
		synctest.Wait()
		if !accepted || len(l.open) != 2 {
			t.Errorf("accepted: %v, open: %d, want the third one in the place of the first", accepted, len(l.open))
		}
	})
}
