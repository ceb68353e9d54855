package double_test

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// limit is how long a test waits before it gives up. It says nothing about how long something takes.
const limit = 2 * time.Minute

// programs is the folder of build.sh.
var programs string

var generations = []string{"raven", "0.13", "0.45", "0.48"}

func TestMain(m *testing.M) {
	folder, err := os.MkdirTemp("", "runner-doubles")
	if err != nil {
		panic(err)
	}
	build := exec.Command("../build.sh", folder)
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build.sh:", err)
		os.Exit(1)
	}
	programs = folder
	code := m.Run()
	os.RemoveAll(folder)
	os.Exit(code)
}

// received is a request that a server got, and the event in it.
type received struct {
	path, auth, contentType, encoding, body string
	envelope                                map[string]any
	item                                    map[string]any
	event                                   map[string]any
}

// server is what the doubles report to, on the loopback interface.
type server struct {
	*httptest.Server
	status   int
	requests chan received
}

func newServer(t *testing.T, status int) *server {
	s := &server{status: status, requests: make(chan received, 1000)}
	s.Server = httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		body, _ := io.ReadAll(request.Body)
		got := received{
			path: request.URL.Path, auth: request.Header.Get("X-Sentry-Auth"), contentType: request.Header.Get("Content-Type"),
			encoding: request.Header.Get("Content-Encoding"), body: string(body),
		}
		if err := got.read(); err != nil {
			t.Errorf("%s: %v in %q", got.path, err, got.body)
		}
		s.requests <- got
		answer.WriteHeader(s.status)
	}))
	t.Cleanup(s.Close)
	return s
}

func (r *received) read() error {
	event := []byte(r.body)
	switch r.contentType {
	case "application/octet-stream":
		uncompressed, err := zlib.NewReader(base64.NewDecoder(base64.StdEncoding, strings.NewReader(r.body)))
		if err != nil {
			return err
		}
		if event, err = io.ReadAll(uncompressed); err != nil {
			return err
		}
	case "application/x-sentry-envelope":
		lines := strings.SplitN(r.body, "\n", 3)
		if len(lines) < 3 {
			return fmt.Errorf("%d lines", len(lines))
		}
		if err := json.Unmarshal([]byte(lines[0]), &r.envelope); err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(lines[1]), &r.item); err != nil {
			return err
		}
		event = []byte(lines[2])
	}
	return json.NewDecoder(bytes.NewReader(event)).Decode(&r.event)
}

// dsn of a key, with the secret part where the generation wants it.
func (s *server) dsn(generation, key string) string {
	if generation == "raven" {
		key += ":00000000000000000000000000000000"
	}
	return strings.Replace(s.URL, "http://", "http://"+key+"@", 1) + "/prefix/42"
}

func (s *server) host() string { return strings.TrimPrefix(s.URL, "http://") }

// next event that arrives.
func (s *server) next(t *testing.T) received {
	t.Helper()
	select {
	case got := <-s.requests:
		return got
	case <-time.After(limit):
		t.Fatal("no event arrived")
		return received{}
	}
}

// line of a double's standard output.
type line struct {
	Event, Version, SDK, Source, Host, Key, Reason string
	Builds, Captured, Sent                         int
	Statuses                                       map[string]int
	raw                                            string
}

// runner is a running double.
type runner struct {
	t       *testing.T
	command *exec.Cmd
	lines   chan line
	// all is standard output and log together.
	all  strings.Builder
	lock sync.Mutex
	log  *bytes.Buffer
}

// start runs a program. Of the environment it has PATH and what is said.
func start(t *testing.T, environment []string, program string, arguments ...string) *runner {
	t.Helper()
	command := exec.Command(program, arguments...)
	command.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, environment...)
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	r := &runner{t: t, command: command, lines: make(chan line, 10_000), log: &bytes.Buffer{}}
	command.Stderr = r.log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(r.lines)
		for scanner := bufio.NewScanner(output); scanner.Scan(); {
			read := line{raw: scanner.Text()}
			_ = json.Unmarshal(scanner.Bytes(), &read)
			r.lock.Lock()
			r.all.WriteString(read.raw + "\n")
			r.lock.Unlock()
			r.lines <- read
		}
	}()
	t.Cleanup(func() { _ = command.Process.Kill() })
	return r
}

func startGeneration(t *testing.T, generation string, environment []string, config string, more ...string) *runner {
	t.Helper()
	return start(t, environment, program(generation), append([]string{"run", "--config", config}, more...)...)
}

func program(generation string) string { return filepath.Join(programs, "runner-"+generation) }

// next line of this event.
func (r *runner) next(event string) line {
	r.t.Helper()
	return r.when("event "+event, func(l line) bool { return l.Event == event })
}

// when gives the next line that is so.
func (r *runner) when(what string, so func(line) bool) line {
	r.t.Helper()
	deadline := time.After(limit)
	for {
		select {
		case l, open := <-r.lines:
			if !open {
				r.t.Fatalf("ended before: %s\n%s", what, r.output())
			}
			if so(l) {
				return l
			}
		case <-deadline:
			r.t.Fatalf("did not come: %s\n%s", what, r.output())
		}
	}
}

func (r *runner) output() string {
	r.lock.Lock()
	defer r.lock.Unlock()
	return r.all.String()
}

// signal and wait for the end: the last line, the exit code, and the log.
func (r *runner) end(signal syscall.Signal) (string, int, string) {
	r.t.Helper()
	if err := r.command.Process.Signal(signal); err != nil {
		r.t.Fatal(err)
	}
	return r.wait()
}

func (r *runner) wait() (string, int, string) {
	r.t.Helper()
	last := ""
	deadline := time.After(limit)
	for open := true; open; {
		var l line
		select {
		case l, open = <-r.lines:
			if open {
				last = l.raw
			}
		case <-deadline:
			r.t.Fatalf("does not end\n%s", r.output())
		}
	}
	_ = r.command.Wait()
	return last, r.command.ProcessState.ExitCode(), r.log.String()
}

// volume is a mounted ConfigMap or Secret as the kubelet keeps it: files behind the link ..data, which is renamed over.
type volume struct {
	t      *testing.T
	folder string
	number int
}

func newVolume(t *testing.T, config string) *volume {
	v := &volume{t: t, folder: t.TempDir()}
	v.write(config)
	if err := os.Symlink("..data/config.toml", v.config()); err != nil {
		t.Fatal(err)
	}
	return v
}

func (v *volume) config() string { return filepath.Join(v.folder, "config.toml") }

func (v *volume) write(config string) {
	v.t.Helper()
	v.number++
	name := fmt.Sprintf("..2026_11_22_%d", v.number)
	steps := []error{
		os.Mkdir(filepath.Join(v.folder, name), 0o755),
		os.WriteFile(filepath.Join(v.folder, name, "config.toml"), []byte(config), 0o644),
		os.Symlink(name, filepath.Join(v.folder, "..data_tmp")),
		os.Rename(filepath.Join(v.folder, "..data_tmp"), filepath.Join(v.folder, "..data")),
	}
	for _, err := range steps {
		if err != nil {
			v.t.Fatal(err)
		}
	}
}

// toml is a file as a platform team has it.
func toml(dsn string) string {
	return fmt.Sprintf(`# managed by the platform team
concurrent = 4
sentry_dsn = %q

[session_server]
  session_timeout = 1800

[[runners]]
  name = "fleet"
  url = "https://gitlab.example.com"
  token = "glrt-obviously-fake"
  executor = "kubernetes"
`, dsn)
}
