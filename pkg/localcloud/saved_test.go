package localcloud

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/loopback"
)

// buckets is a client of a cloud's S3.
func buckets(c Connection) *s3.Client {
	return s3.New(s3.Options{
		Region: c.Region, BaseEndpoint: &c.Endpoint, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, ""),
	})
}

// speak puts the cloud's endpoint into a parameter, an object and a file of a folder.
func speak(t *testing.T, c Connection, folder string) {
	t.Helper()
	_, err := parameters(c).PutParameter(t.Context(), &ssm.PutParameterInput{
		Name: aws.String("/endpoint"), Value: &c.Endpoint, Type: types.ParameterTypeString, Overwrite: aws.Bool(true),
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = buckets(c).CreateBucket(t.Context(), &s3.CreateBucketInput{
		Bucket: aws.String("bucket"), CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: "us-west-1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for key, body := range map[string]string{"text": c.Endpoint, "binary": "\xff" + c.Endpoint} {
		_, err := buckets(c).PutObject(t.Context(), &s3.PutObjectInput{
			Bucket: aws.String("bucket"), Key: &key, Body: strings.NewReader(body), ChecksumAlgorithm: s3types.ChecksumAlgorithmSha256,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(folder, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "terraform.tfstate"), []byte(c.Endpoint), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/nowhere", filepath.Join(folder, "data", "provider")); err != nil {
		t.Fatal(err)
	}
}

// spoken is what speak put there.
type spoken struct{ Parameter, Text, Binary, File, Link string }

func hear(t *testing.T, c Connection, folder string) spoken {
	t.Helper()
	parameter, err := parameters(c).GetParameter(t.Context(), &ssm.GetParameterInput{Name: aws.String("/endpoint")})
	if err != nil {
		t.Fatal(err)
	}
	object := func(key string) string {
		// The client checks the checksum.
		out, err := buckets(c).GetObject(t.Context(), &s3.GetObjectInput{
			Bucket: aws.String("bucket"), Key: &key, ChecksumMode: s3types.ChecksumModeEnabled,
		})
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(out.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	file, err := os.ReadFile(filepath.Join(folder, "terraform.tfstate"))
	if err != nil {
		t.Fatal(err)
	}
	link, err := os.Readlink(filepath.Join(folder, "data", "provider"))
	if err != nil {
		t.Fatal(err)
	}
	return spoken{*parameter.Parameter.Value, object("text"), object("binary"), string(file), link}
}

func TestSaveAndLoad(t *testing.T) {
	o := testOptions(t)
	saved, account := filepath.Join(t.TempDir(), "saved"), filepath.Join(t.TempDir(), "account")
	folders := map[string]string{"account": account, "reports": filepath.Join(t.TempDir(), "none")}
	first, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	speak(t, first, account)
	var calls []string
	connect := func(ctx context.Context, id string) (backend, error) {
		b, err := connectMemory(ctx, id)
		b.save = func(_ context.Context, to string) error { calls = append(calls, "save "+id+" as "+to); return nil }
		b.load = func(_ context.Context, from string) error { calls = append(calls, "load "+from+" as "+id); return nil }
		return b, err
	}
	if err := save(t.Context(), o, saved, folders, connect); err != nil {
		t.Fatal(err)
	}
	want := spoken{first.Endpoint, first.Endpoint, "\xff" + first.Endpoint, first.Endpoint, "/nowhere"}
	if diff := cmp.Diff(want, hear(t, first, account)); diff != "" {
		t.Errorf("the cloud that was saved does not go on (-want +got):\n%s", diff)
	}
	if s, err := Saved(saved); err != nil || s.AccountID != first.AccountID || s.Region != "us-west-1" || s.Saved.IsZero() {
		t.Errorf("Saved = %+v, %v", s, err)
	}
	wantCalls := []string{"save " + folder(o.StateDir).cloudID() + " as " + folder(saved).cloudID()}
	endpoints := map[string]bool{first.Endpoint: true}
	for range 2 {
		then, again := testOptions(t), filepath.Join(t.TempDir(), "account")
		if err := os.MkdirAll(again, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(again, "old"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := load(t.Context(), saved, then.StateDir, map[string]string{"account": again}, connect); err != nil {
			t.Fatal(err)
		}
		wantCalls = append(wantCalls, "load "+folder(saved).cloudID()+" as "+folder(then.StateDir).cloudID())
		c, err := Start(t.Context(), then)
		if err != nil {
			t.Fatal(err)
		}
		if endpoints[c.Endpoint] {
			t.Errorf("two clouds at %s", c.Endpoint)
		}
		endpoints[c.Endpoint] = true
		same := c
		same.Endpoint = first.Endpoint
		if diff := cmp.Diff(first, same); diff != "" {
			t.Errorf("connection, but for the endpoint (-saved +loaded):\n%s", diff)
		}
		want := spoken{c.Endpoint, c.Endpoint, "\xff" + first.Endpoint, c.Endpoint, "/nowhere"}
		if diff := cmp.Diff(want, hear(t, c, again)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if _, err := os.Stat(filepath.Join(again, "old")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("what was in the folder is still there: %v", err)
		}
	}
	if diff := cmp.Diff(wantCalls, calls); diff != "" {
		t.Errorf("machines (-want +got):\n%s", diff)
	}
	if err := purge(t.Context(), saved, connectMemory); err != nil {
		t.Fatal(err)
	}
	if _, err := Saved(saved); !errors.Is(err, ErrNotSaved) {
		t.Errorf("Saved after a purge = %v", err)
	}
}

func TestSaveErrors(t *testing.T) {
	o := testOptions(t)
	saved := filepath.Join(t.TempDir(), "saved")
	if err := save(t.Context(), o, saved, nil, connectMemory); !errors.Is(err, ErrNoCloud) {
		t.Errorf("save of nothing = %v", err)
	}
	if _, err := os.Stat(o.StateDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("save of nothing makes a folder: %v", err)
	}
	if _, err := Start(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	before := serverPID(t, o)
	full := errors.New("no space left on device")
	fails := func(ctx context.Context, id string) (backend, error) {
		b, err := connectMemory(ctx, id)
		b.save = func(context.Context, string) error { return full }
		return b, err
	}
	if err := save(t.Context(), o, saved, nil, fails); !errors.Is(err, full) {
		t.Errorf("save = %v", err)
	}
	if now := serverPID(t, o); now == before || now == 0 {
		t.Errorf("after a save that failed, process %d serves; before it was %d", now, before)
	}
	if _, err := Saved(saved); !errors.Is(err, ErrNotSaved) {
		t.Errorf("Saved of half a save = %v", err)
	}
	to := testOptions(t)
	if err := load(t.Context(), saved, to.StateDir, nil, connectMemory); !errors.Is(err, ErrNotSaved) {
		t.Errorf("load of half a save = %v", err)
	}
	if err := save(t.Context(), o, saved, nil, connectMemory); err != nil {
		t.Errorf("save where half a save is = %v", err)
	}
	if err := save(t.Context(), o, saved, nil, connectMemory); !errors.Is(err, ErrExists) {
		t.Errorf("save again = %v", err)
	}
	if _, err := Start(t.Context(), Options{StateDir: saved, Region: "us-west-1", Command: o.Command}); err == nil {
		t.Error("a saved cloud starts")
	}
	if err := load(t.Context(), saved, o.StateDir, nil, connectMemory); !errors.Is(err, ErrExists) {
		t.Errorf("load where a cloud is = %v", err)
	}
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "precious"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := save(t.Context(), o, other, nil, connectMemory); err == nil {
		t.Error("save takes a folder with somebody else's files")
	}
}

// TestLoadIsKilled ends a load before its end: what is there cannot be taken for a cloud, and can be purged with what belongs to it.
func TestLoadIsKilled(t *testing.T) {
	o := testOptions(t)
	saved := filepath.Join(t.TempDir(), "saved")
	first, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := save(t.Context(), o, saved, nil, connectMemory); err != nil {
		t.Fatal(err)
	}
	to := testOptions(t)
	killed := func(ctx context.Context, id string) (backend, error) {
		b, err := connectMemory(ctx, id)
		b.load = func(context.Context, string) error { return syscall.EINTR }
		return b, err
	}
	if err := load(t.Context(), saved, to.StateDir, nil, killed); !errors.Is(err, syscall.EINTR) {
		t.Errorf("load = %v", err)
	}
	if _, err := Start(t.Context(), to); !errors.Is(err, ErrHalfLoaded) {
		t.Errorf("Start = %v", err)
	}
	if err := serveFolder(t.Context(), to, connectMemory); !errors.Is(err, ErrHalfLoaded) {
		t.Errorf("Serve = %v", err)
	}
	if err := load(t.Context(), saved, to.StateDir, nil, connectMemory); !errors.Is(err, ErrHalfLoaded) {
		t.Errorf("load again = %v", err)
	}
	if status, err := Status(t.Context(), to.StateDir); err != nil || status.AccountID != first.AccountID {
		t.Errorf("Status = %+v, %v: whoever purges must know whose it is", status, err)
	}
	if err := purge(t.Context(), to.StateDir, connectMemory); err != nil {
		t.Fatal(err)
	}
	if err := load(t.Context(), saved, to.StateDir, nil, connectMemory); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), to); err != nil {
		t.Fatal(err)
	}
}

func TestMover(t *testing.T) {
	from, err := loopback.ParseBlock("127.80.12.0/24")
	if err != nil {
		t.Fatal(err)
	}
	to, err := loopback.ParseBlock("127.9.200.0/24")
	if err != nil {
		t.Fatal(err)
	}
	move := mover(savedDocument{ID: "0a1b2c", Block: from}, to, "ffffff")
	for before, after := range map[string]string{
		`"127.80.12.3"`:                   `"127.9.200.3"`,
		"127.80.12.3,127.80.12.254":       "127.9.200.3,127.9.200.254",
		"http://127.80.12.1:4566/x":       "http://127.9.200.1:4566/x",
		"http%3A%2F%2F127.80.12.1%3A4566": "http%3A%2F%2F127.9.200.1%3A4566",
		"127.80.12.0/24":                  "127.9.200.0/24",
		"127.80.121.3 127.80.1.2":         "127.80.121.3 127.80.1.2",
		"1127.80.12.3 10.127.80.12.3":     "1127.80.12.3 10.127.80.12.3",
		"127x80x12x3":                     "127x80x12x3",
		"ingot-0a1b2c/ami-1:latest":       "ingot-ffffff/ami-1:latest",
		"ingot-0a1b2c0/ami-1:latest":      "ingot-0a1b2c0/ami-1:latest",
		"\xff127.80.12.3":                 "\xff127.80.12.3",
	} {
		if got := string(move([]byte(before))); got != after {
			t.Errorf("%q becomes %q, want %q", before, got, after)
		}
	}
}

func TestCopyTreeRefusesWhatIsNoFile(t *testing.T) {
	from := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(from, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := copyTree(filepath.Join(t.TempDir(), "to"), from, nil, nil); err == nil {
		t.Error("a pipe is copied")
	}
}
