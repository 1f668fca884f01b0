package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestHandler(t *testing.T) {
	tests := []struct {
		name, method, path string
		status             int
		body               string
	}{
		{"index", "GET", "/", 200, greeting + "\nrelease v7\nhost web-1\n"},
		{"health", "GET", "/healthz", 200, "ok\n"},
		{"head", "HEAD", "/healthz", 200, "ok\n"}, // net/http drops a HEAD's body, httptest does not
		{"unknown path", "GET", "/nowhere", 404, "404 page not found\n"},
		{"wrong method", "POST", "/", 405, "Method Not Allowed\n"},
	}
	handler := newHandler(discard(), "v7", "web-1")
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			response := httptest.NewRecorder()
			handler.ServeHTTP(response, httptest.NewRequest(test.method, test.path, nil))
			if response.Code != test.status || response.Body.String() != test.body {
				t.Errorf("%s %s = %d %q, want %d %q", test.method, test.path, response.Code, response.Body, test.status, test.body)
			}
			if got := response.Header().Get("X-Release"); got != "v7" {
				t.Errorf("X-Release = %q, want v7", got)
			}
		})
	}
}

func TestLog(t *testing.T) {
	var out bytes.Buffer
	handler := newHandler(slog.New(slog.NewJSONHandler(&out, nil)), "v7", "web-1")
	for _, path := range []string{"/healthz", "/nowhere"} {
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", path, nil))
	}
	var line struct {
		Path   string
		Status int
	}
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("log is not one JSON line: %v\n%s", err, &out)
	}
	if line.Path != "/nowhere" || line.Status != 404 {
		t.Errorf("logged %+v, want /nowhere 404", line)
	}
}

// A request in flight is answered after the stop, on a connection that then closes; a new connection is refused.
func TestServeDrains(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-release
		io.WriteString(w, "late")
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- serve(ctx, discard(), listener, handler) }()

	type result struct {
		response *http.Response
		err      error
	}
	got := make(chan result, 1)
	go func() {
		response, err := http.Get("http://" + listener.Addr().String())
		got <- result{response, err}
	}()
	<-arrived
	stop()
	for refused := false; !refused; {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if refused = err != nil; !refused {
			conn.Close()
		}
	}
	close(release)

	r := <-got
	if r.err != nil {
		t.Fatalf("request in flight: %v", r.err)
	}
	defer r.response.Body.Close()
	if body, _ := io.ReadAll(r.response.Body); string(body) != "late" || !r.response.Close {
		t.Errorf("body %q, close %v, want late, true", body, r.response.Close)
	}
	if err := <-served; err != nil {
		t.Errorf("serve = %v, want nil", err)
	}
}

func TestRunPortTaken(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	getenv := func(name string) string { return map[string]string{"HOST": "127.0.0.1", "PORT": port}[name] }
	if err := run(t.Context(), discard(), getenv); err == nil || !strings.Contains(err.Error(), port) {
		t.Errorf("run = %v, want an error that names port %s", err, port)
	}
}

// The process itself ends with 0 on SIGTERM.
func TestSIGTERM(t *testing.T) {
	if os.Getenv("RUN_SERVICE") != "" {
		main()
		return
	}
	command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSIGTERM$")
	command.Env = append(os.Environ(), "RUN_SERVICE=1", "HOST=127.0.0.1", "PORT=0", "RELEASE=v7")
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(out)
	var line struct{ Msg, Address, Release string }
	if err := decoder.Decode(&line); err != nil {
		t.Fatal(err)
	}
	if line.Msg != "serving" || line.Release != "v7" {
		t.Errorf("first line %+v, want serving v7", line)
	}
	_, port, _ := net.SplitHostPort(line.Address)
	client := http.Client{Timeout: 5 * time.Second}
	response, err := client.Get("http://127.0.0.1:" + port + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != 200 {
		t.Errorf("health = %s", response.Status)
	}
	if err := command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, io.MultiReader(decoder.Buffered(), out))
	if err := command.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}
