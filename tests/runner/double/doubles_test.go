package double_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	oldKey = "0123456789abcdef0123456789abcdef"
	newKey = "fedcba9876543210fedcba9876543210"
)

// each runs a test for every generation, side by side.
func each(t *testing.T, test func(t *testing.T, generation string)) {
	t.Parallel()
	for _, generation := range generations {
		t.Run(generation, func(t *testing.T) {
			t.Parallel()
			test(t, generation)
		})
	}
}

func TestAnEventHasTheGenerationsWireFormat(t *testing.T) {
	store, envelope := "/prefix/api/42/store/", "/prefix/api/42/envelope/"
	auth := func(format string) string { return "^Sentry " + fmt.Sprintf(format, oldKey) + "$" }
	formats := map[string]struct{ path, auth, contentType, exception, tags, timestamp string }{
		"raven": {
			store, auth("sentry_version=4, sentry_key=%s, sentry_secret=0{32}"), "application/octet-stream", "object", "pairs",
			`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$`,
		},
		"0.13": {
			store, auth(`sentry_version=7, sentry_timestamp=\d+, sentry_client=sentry.go/0.13.0, sentry_key=%s`), "application/json",
			"array", "object", `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|[+-]\d\d:\d\d)$`,
		},
		"0.45": {
			envelope, auth("sentry_version=7, sentry_client=sentry.go/0.45.0, sentry_key=%s"), "application/x-sentry-envelope",
			"array", "object", `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$`,
		},
		"0.48": {
			envelope, auth("sentry_version=7, sentry_client=sentry.go/0.48.0, sentry_key=%s"), "application/x-sentry-envelope",
			"array", "object", `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$`,
		},
	}
	each(t, func(t *testing.T, generation string) {
		want, server := formats[generation], newServer(t, 200)
		r := startGeneration(t, generation, nil, newVolume(t, toml(server.dsn(generation, oldKey))).config(), "--fail")
		got := server.next(t)
		t.Logf("POST %s, X-Sentry-Auth: %s, %s, %d bytes", got.path, got.auth, got.contentType, len(got.body))

		if got.path != want.path || got.contentType != want.contentType || got.encoding != "" {
			t.Errorf("%s, %s, encoding %q", got.path, got.contentType, got.encoding)
		}
		if !regexp.MustCompile(want.auth).MatchString(got.auth) {
			t.Errorf("X-Sentry-Auth: %s", got.auth)
		}
		if timestamp, _ := got.event["timestamp"].(string); !regexp.MustCompile(want.timestamp).MatchString(timestamp) {
			t.Errorf("timestamp %v", got.event["timestamp"])
		}
		if want.path == envelope {
			if got.envelope["dsn"] != server.dsn(generation, oldKey) || got.item["type"] != "event" {
				t.Errorf("envelope %v, item %v", got.envelope, got.item)
			}
		}

		exception, shape := map[string]any{}, ""
		switch value := got.event["exception"].(type) {
		case map[string]any:
			exception, shape = value, "object"
			if _, has := value["values"]; has {
				shape = "values"
			}
		case []any:
			exception, shape = value[0].(map[string]any), "array"
		}
		message := `Job failed (system failure): pods "runner-double" not found`
		if shape != want.exception || exception["type"] != "*errors.errorString" || exception["value"] != message {
			t.Errorf("exception is an %s: type %v, value %v", shape, exception["type"], exception["value"])
		}
		frames, _ := exception["stacktrace"].(map[string]any)["frames"].([]any)
		if newest := frames[len(frames)-1].(map[string]any); !strings.HasSuffix(newest["function"].(string), "LogHook).Fire") {
			t.Errorf("the newest frame is %v", newest)
		}

		tags := map[string]string{}
		shape = ""
		switch value := got.event["tags"].(type) {
		case map[string]any:
			shape = "object"
			for key, tag := range value {
				tags[key] = tag.(string)
			}
		case []any:
			shape = "pairs"
			for _, pair := range value {
				tags[pair.([]any)[0].(string)] = pair.([]any)[1].(string)
			}
		}
		if shape != want.tags {
			t.Errorf("tags are %s", shape)
		}
		for _, key := range strings.Fields("built version revision branch go-version go-os go-arch hostname builds job project runner") {
			if tags[key] == "" {
				t.Errorf("no tag %s", key)
			}
		}
		if got.event["level"] != "error" || got.event["user"] != nil && len(got.event["user"].(map[string]any)) > 0 {
			t.Errorf("level %v, user %v", got.event["level"], got.event["user"])
		}

		last, code, _ := r.end(syscall.SIGQUIT)
		if code != 0 || !regexp.MustCompile(`^sent=[1-9]\d* failed=0$`).MatchString(last) {
			t.Errorf("ended with %d and %q", code, last)
		}
		if strings.Contains(r.output(), oldKey[:9]) {
			t.Errorf("the key was printed:\n%s", r.output())
		}
	})
}

func TestAChangedVolumeIsReloadedWithoutARestart(t *testing.T) {
	each(t, func(t *testing.T, generation string) {
		server := newServer(t, 200)
		mounted := newVolume(t, toml(server.dsn(generation, oldKey)))
		r := startGeneration(t, generation, nil, mounted.config(), "--fail", "--job", "1h")
		if first := r.next("configuration_loaded"); first.Key != oldKey[:8] || first.Host != server.host() || first.Source != "config.toml" {
			t.Errorf("loaded %s", first.raw)
		}
		r.when("an event", func(l line) bool { return l.Sent > 0 })

		written := time.Now()
		mounted.write(toml(server.dsn(generation, newKey)))
		second := r.next("configuration_loaded")
		t.Logf("reloaded %.1f s after the link was renamed", time.Since(written).Seconds())
		if second.Key != newKey[:8] || second.Builds != 1 {
			t.Errorf("reloaded %s", second.raw)
		}
		for got := server.next(t); !strings.Contains(got.auth, newKey); got = server.next(t) {
		}

		// Without the key nothing is sent any more.
		mounted.write("concurrent = 4\n")
		if third := r.next("configuration_loaded"); third.Key != "" || third.Source != "none" {
			t.Errorf("reloaded %s", third.raw)
		}
		captured := r.next("status").Captured
		r.next("status")
		r.next("status")
		if later := r.next("status").Captured; later != captured {
			t.Errorf("%d events were captured without a DSN", later-captured)
		}
	})
}

func TestSighupReloadsAFileOfTheSameTime(t *testing.T) {
	each(t, func(t *testing.T, generation string) {
		server := newServer(t, 200)
		file := filepath.Join(t.TempDir(), "config.toml")
		past := time.Now().Add(-time.Hour)
		write := func(key string) {
			if err := os.WriteFile(file, []byte(toml(server.dsn(generation, key))), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(file, past, past); err != nil {
				t.Fatal(err)
			}
		}
		write(oldKey)
		r := startGeneration(t, generation, nil, file)
		r.next("configuration_loaded")
		write(newKey)
		for range 5 {
			if l := r.next("status"); l.Key != oldKey[:8] {
				t.Errorf("reloaded a file whose time is the same: %s", l.raw)
			}
		}
		_ = r.command.Process.Signal(syscall.SIGHUP)
		if l := r.next("configuration_loaded"); l.Key != newKey[:8] {
			t.Errorf("after SIGHUP: %s", l.raw)
		}
	})
}

func TestAFileThatDoesNotParseChangesNothing(t *testing.T) {
	each(t, func(t *testing.T, generation string) {
		server := newServer(t, 200)
		mounted := newVolume(t, toml(server.dsn(generation, oldKey)))
		r := startGeneration(t, generation, nil, mounted.config())
		r.next("configuration_loaded")
		mounted.write("sentry_dsn = \n")
		if l := r.next("configuration_failed"); l.Key != oldKey[:8] || l.Reason == "" {
			t.Errorf("%s", l.raw)
		}
		// The failure is reported to the old DSN, and once: the file is not tried again.
		if value := fmt.Sprint(server.next(t).event["exception"]); !strings.Contains(value, "Failed to load config") {
			t.Errorf("reported %s", value)
		}
		for range 5 {
			if l := r.next("status"); l.Captured != 1 {
				t.Errorf("%s", l.raw)
			}
		}
		mounted.write(toml(server.dsn(generation, newKey)))
		if l := r.next("configuration_loaded"); l.Key != newKey[:8] {
			t.Errorf("%s", l.raw)
		}
		if _, _, log := r.end(syscall.SIGQUIT); !strings.Contains(log, "ERROR: Failed to load config toml: line 1") {
			t.Errorf("log:\n%s", log)
		}
	})
}

func TestADSNIsRefusedInTheWordsOfTheLibrary(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ generation, dsn, reason string }{
		{"raven", "http://" + oldKey + "@127.0.0.1/7", "raven: dsn missing private key"},
		{"raven", "http://127.0.0.1/7", "raven: dsn missing public key and/or password"},
		{"raven", "http://" + oldKey + ":0@127.0.0.1/", "raven: dsn missing project id"},
		{"0.13", "http://127.0.0.1/7", "[Sentry] DsnParseError: empty username"},
		{"0.13", "http://" + oldKey + "@127.0.0.1/", "[Sentry] DsnParseError: empty project id"},
		{"0.13", "ftp://" + oldKey + "@127.0.0.1/7", "[Sentry] DsnParseError: invalid scheme"},
		{"0.45", "http://127.0.0.1/7", "[Sentry] DsnParseError: empty username"},
		{"0.48", "http://" + oldKey + "@127.0.0.1/", "[Sentry] DsnParseError: empty project id"},
		{"0.48", "http://" + oldKey + "@127.0.0.1/%zz", `invalid url: parse [DSN]: invalid URL escape "%zz"`},
	} {
		t.Run(row.generation+" "+row.reason, func(t *testing.T) {
			t.Parallel()
			server := newServer(t, 200)
			mounted := newVolume(t, toml(server.dsn(row.generation, oldKey)))
			r := startGeneration(t, row.generation, nil, mounted.config(), "--fail", "--fail-every", "100ms")
			r.when("an event", func(l line) bool { return l.Sent > 0 })
			mounted.write(toml(row.dsn))
			refused := r.next("sentry_failure")
			if !strings.Contains(refused.Reason, row.reason) || refused.Host != "" {
				t.Errorf("%s", refused.raw)
			}
			for range 3 {
				if l := r.next("status"); l.Captured != refused.Captured {
					t.Errorf("captured with a bad DSN: %s", l.raw)
				}
			}
			_, code, log := r.end(syscall.SIGQUIT)
			if code != 0 || !strings.Contains(log, "ERROR: Sentry failure  builds=0 error=") || !strings.Contains(log, row.reason) {
				t.Errorf("exit code %d, log:\n%s", code, log)
			}
			if strings.Contains(log, oldKey) {
				t.Errorf("the key was printed:\n%s", log)
			}
		})
	}
}

func TestWhereTheDSNComesFrom(t *testing.T) {
	t.Parallel()
	server := newServer(t, 200)
	const none, empty, own = "concurrent = 1\n", "sentry_dsn = \"\"\n", "own"
	for _, row := range []struct {
		name, generation, version, file string
		environment                     []string
		source, key                     string
	}{
		{"absent, no fallback yet", "raven", "", none, []string{newKey}, "none", ""},
		{"absent, no fallback yet", "0.13", "", none, []string{newKey}, "none", ""},
		{"absent, no fallback yet", "0.45", "19.1.0", none, []string{newKey}, "none", ""},
		{"absent", "0.45", "", none, []string{newKey}, "environment", newKey},
		{"absent", "0.48", "", none, []string{newKey}, "environment", newKey},
		{"absent, environment empty", "0.48", "", none, []string{""}, "environment", ""},
		{"absent, no environment", "0.48", "", none, nil, "none", ""},
		{"empty", "raven", "", empty, []string{newKey}, "library", newKey},
		{"empty", "0.13", "", empty, []string{newKey}, "library", newKey},
		{"empty", "0.45", "19.0.0", empty, []string{newKey}, "library", newKey},
		{"empty", "0.48", "", empty, []string{newKey}, "library", newKey},
		{"empty, no environment", "0.13", "", empty, nil, "config.toml", ""},
		{"set", "raven", "", own, []string{newKey}, "config.toml", oldKey},
		{"set", "0.13", "", own, []string{newKey}, "config.toml", oldKey},
		{"set", "0.45", "", own, []string{newKey}, "config.toml", oldKey},
		{"set", "0.48", "", own, []string{newKey}, "config.toml", oldKey},
	} {
		t.Run(row.generation+row.version+" "+row.name, func(t *testing.T) {
			t.Parallel()
			var environment []string
			for _, key := range row.environment {
				dsn := ""
				if key != "" {
					dsn = server.dsn(row.generation, key)
				}
				environment = append(environment, "SENTRY_DSN="+dsn)
			}
			if row.version != "" {
				environment = append(environment, "RUNNER_VERSION="+row.version)
			}
			file := row.file
			if file == own {
				file = toml(server.dsn(row.generation, oldKey))
			}
			r := startGeneration(t, row.generation, environment, newVolume(t, file).config(), "--fail", "--fail-every", "100ms")
			loaded := r.next("configuration_loaded")
			if loaded.Source != row.source || loaded.Key != row.key[:min(8, len(row.key))] {
				t.Errorf("%s", loaded.raw)
			}
			r.next("status")
			r.next("status")
			last, _, _ := r.end(syscall.SIGQUIT)
			if sends := last != "sent=0 failed=0"; sends != (row.key != "") {
				t.Errorf("ended with %q", last)
			}
		})
	}
}

func TestRavenReadsNoEnvironmentDSNWithoutAPrivateKey(t *testing.T) {
	t.Parallel()
	server := newServer(t, 200)
	environment := []string{"SENTRY_DSN=" + server.dsn("0.13", newKey)}
	r := startGeneration(t, "raven", environment, newVolume(t, "sentry_dsn = \"\"\n").config(), "--fail", "--fail-every", "100ms")
	r.next("status")
	if last, _, log := r.end(syscall.SIGQUIT); last != "sent=0 failed=0" || strings.Contains(log, "Sentry failure") {
		t.Errorf("ended with %q, log:\n%s", last, log)
	}
}

func TestWhatAServerRefusesIsCountedAsFailed(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		generation string
		status     int
		delivered  bool
	}{
		{"raven", 401, false}, {"0.13", 401, false}, {"0.45", 403, false}, {"0.48", 429, false},
		{"raven", 202, false}, {"0.13", 202, true}, {"0.48", 202, true},
	} {
		t.Run(fmt.Sprint(row.generation, " ", row.status), func(t *testing.T) {
			t.Parallel()
			server := newServer(t, row.status)
			file := newVolume(t, toml(server.dsn(row.generation, oldKey))).config()
			r := startGeneration(t, row.generation, nil, file, "--fail", "--fail-every", "300ms")
			r.when("an answer", func(l line) bool { return l.Statuses[fmt.Sprint(row.status)] > 0 })
			last, _, _ := r.end(syscall.SIGQUIT)
			want := `^sent=0 failed=[1-9]\d*$`
			if row.delivered {
				want = `^sent=[1-9]\d* failed=0$`
			}
			if !regexp.MustCompile(want).MatchString(last) {
				t.Errorf("ended with %q", last)
			}
		})
	}
}

func TestSigquitLetsTheJobFinishAndKeepsTheDSN(t *testing.T) {
	each(t, func(t *testing.T, generation string) {
		server := newServer(t, 200)
		mounted := newVolume(t, toml(server.dsn(generation, oldKey)))
		r := startGeneration(t, generation, nil, mounted.config(), "--fail", "--job", "8s")
		r.next("job_started")
		_ = r.command.Process.Signal(syscall.SIGQUIT)
		stopping := r.next("stopping")
		mounted.write(toml(server.dsn(generation, newKey)))
		finished := r.next("job_finished")
		if finished.Key != oldKey[:8] || finished.Captured <= stopping.Captured {
			t.Errorf("%s, then %s", stopping.raw, finished.raw)
		}
		if _, code, _ := r.wait(); code != 0 {
			t.Errorf("exit code %d", code)
		}
	})
}

func TestSigtermCutsTheJob(t *testing.T) {
	each(t, func(t *testing.T, generation string) {
		r := startGeneration(t, generation, nil, newVolume(t, "").config(), "--job", "1h")
		r.next("job_started")
		if _, code, _ := r.end(syscall.SIGTERM); code != 1 || !strings.Contains(r.output(), `"event":"job_cut"`) {
			t.Errorf("exit code %d\n%s", code, r.output())
		}
	})
}

func TestRegisterWritesTheEnvironmentIntoTheFile(t *testing.T) {
	each(t, func(t *testing.T, generation string) {
		server := newServer(t, 200)
		file := filepath.Join(t.TempDir(), "config.toml")
		text := "# a comment\nconcurrent = 4\n[[runners]]\nname = \"first\"\n[runners.kubernetes]\nnamespace = \"ci\"\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		environment := []string{"SENTRY_DSN=" + server.dsn(generation, oldKey), "RUNNER_NAME=second"}
		if _, code, log := start(t, environment, program(generation), "register", "--config", file).wait(); code != 0 {
			t.Fatal(log)
		}
		saved, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{"concurrent = 4", `name = "first"`, `namespace = "ci"`, `name = "second"`} {
			if !strings.Contains(string(saved), part) {
				t.Errorf("no %s in\n%s", part, saved)
			}
		}
		if strings.Contains(string(saved), "comment") {
			t.Error("the comment is kept")
		}
		// From now on the file wins where it has a DSN.
		environment[0] = "SENTRY_DSN=" + server.dsn(generation, newKey)
		loaded := startGeneration(t, generation, environment, file).next("configuration_loaded")
		want, source := oldKey[:8], "config.toml"
		if generation == "raven" || generation == "0.13" {
			want, source = "", "none"
		}
		if loaded.Key != want || loaded.Source != source {
			t.Errorf("%s", loaded.raw)
		}
	})
}

func TestTheChartsEntrypointReadsACopy(t *testing.T) {
	each(t, func(t *testing.T, generation string) {
		server := newServer(t, 200)
		mounted := newVolume(t, toml(server.dsn(generation, oldKey)))
		environment := []string{"CONFIG_COPY_FROM=" + mounted.config()}
		r := start(t, environment, "../chart-entrypoint.sh", program(generation), "--fail")
		if l := r.next("configuration_loaded"); l.Key != oldKey[:8] {
			t.Errorf("%s", l.raw)
		}
		mounted.write(toml(server.dsn(generation, newKey)))
		for range 8 {
			if l := r.next("status"); l.Key != oldKey[:8] {
				t.Errorf("the mounted file was read: %s", l.raw)
			}
		}
		// The signal reaches the double: the shell is gone.
		if last, code, _ := r.end(syscall.SIGQUIT); code != 0 || !strings.HasPrefix(last, "sent=") {
			t.Errorf("exit code %d, %q", code, last)
		}
	})
}

func TestAVersionWithAnotherLibraryIsRefused(t *testing.T) {
	t.Parallel()
	r := startGeneration(t, "0.13", []string{"RUNNER_VERSION=18.9.0"}, "config.toml")
	want := "FATAL: RUNNER_VERSION is 18.9.0, but sentry-go 0.13.0 is in the runners 14.7 to 18.8"
	if _, code, log := r.wait(); code != 1 || !strings.Contains(log, want) {
		t.Errorf("exit code %d, log:\n%s", code, log)
	}
}
