// Package double stands in for GitLab Runner, which cannot be built from public modules: its configuration, its reloads and its
// report of its own errors, on the libraries that it uses. It takes no jobs from a GitLab.
package double

import (
	"fmt"
	"net/http"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
)

// Generation is what differs between versions of the runner.
type Generation struct {
	// Library is the module that sends. The program's go.mod says its version.
	Library string
	// First and Last are the runner's versions with this library, without the patch: "14.7", "18.8".
	First, Last string
	// Version is the one that the double is, unless RUNNER_VERSION names another between First and Last.
	Version string
	// EnvironmentSince is the first version that takes SENTRY_DSN when config.toml has no sentry_dsn. Empty: none does.
	EnvironmentSince string
	// Delivered says whether the library takes this HTTP status for a delivery.
	Delivered func(status int) bool
	// NewLogHook makes the library's client. An empty DSN is one that the library may replace by the environment's.
	NewLogHook func(dsn string, tags map[string]string, transport http.RoundTripper) (LogHook, error)
}

// LogHook sends log lines of the levels error, fatal and panic.
type LogHook interface {
	logrus.Hook
	// DSN is the one that the library reports to, empty if to none.
	DSN() string
	// Flush waits for what is queued.
	Flush(timeout time.Duration)
}

// sdk is the library and the version that was built in, as "sentry-go 0.13.0".
func (g Generation) sdk() string {
	build, _ := debug.ReadBuildInfo()
	if build != nil {
		for _, module := range build.Deps {
			if module.Path == g.Library {
				return path.Base(g.Library) + " " + strings.TrimPrefix(module.Version, "v")
			}
		}
	}
	return path.Base(g.Library)
}

// takesEnvironment says whether this version falls back to SENTRY_DSN by itself.
func (g Generation) takesEnvironment(version string) (bool, error) {
	if g.EnvironmentSince == "" {
		return false, nil
	}
	before, err := isBefore(version, g.EnvironmentSince)
	return !before, err
}

// check refuses a version that had another library.
func (g Generation) check(version string) error {
	early, err := isBefore(version, g.First)
	if err != nil {
		return err
	}
	late, err := isBefore(g.Last, version)
	if err != nil {
		return err
	}
	if early || late {
		return fmt.Errorf("RUNNER_VERSION is %s, but %s is in the runners %s to %s", version, g.sdk(), g.First, g.Last)
	}
	return nil
}

// isBefore compares major and minor version.
func isBefore(a, b string) (bool, error) {
	left, err := majorMinor(a)
	if err != nil {
		return false, err
	}
	right, err := majorMinor(b)
	if err != nil {
		return false, err
	}
	return left[0] < right[0] || left[0] == right[0] && left[1] < right[1], nil
}

func majorMinor(version string) ([2]int, error) {
	parts := strings.Split(version, ".")
	if len(parts) < 2 {
		return [2]int{}, fmt.Errorf("%s is not a version of the runner, as 18.8.0 is", version)
	}
	var numbers [2]int
	for i := range numbers {
		number, err := strconv.Atoi(parts[i])
		if err != nil {
			return [2]int{}, fmt.Errorf("%s is not a version of the runner, as 18.8.0 is", version)
		}
		numbers[i] = number
	}
	return numbers, nil
}
