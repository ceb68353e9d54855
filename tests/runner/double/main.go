package double

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"time"
)

const usage = `A double of GitLab Runner %s on %s, for tests.

    %[3]s run      --config FILE [--fail] [--fail-every 1s] [--fail-message TEXT] [--job 0s]
    %[3]s register --config FILE [--name NAME] [--url URL] [--token TOKEN]
    %[3]s --version

Each option can be an environment variable: CONFIG_FILE, FAIL=1, FAIL_EVERY, FAIL_MESSAGE, JOB; RUNNER_NAME, CI_SERVER_URL,
CI_SERVER_TOKEN. RUNNER_VERSION is the version to be, of those that had this library.
`

// Main is the program of a generation.
func Main(generation Generation) {
	code, err := start(generation, os.Args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "FATAL:", err)
		code = 1
	}
	os.Exit(code)
}

func start(generation Generation, arguments []string) (int, error) {
	version := environment("RUNNER_VERSION", generation.Version)
	if err := generation.check(version); err != nil {
		return 1, err
	}
	takesEnvironment, err := generation.takesEnvironment(version)
	if err != nil {
		return 1, err
	}
	command := ""
	if len(arguments) > 1 {
		command = arguments[1]
	}
	switch command {
	case "run":
		options, err := runOptions(arguments[2:])
		if err != nil {
			return 2, err
		}
		return newProcess(generation, version, takesEnvironment, options).run(), nil
	case "register":
		flags := flag.NewFlagSet("register", flag.ContinueOnError)
		file := configFlag(flags)
		var added registration
		flags.StringVar(&added.name, "name", environment("RUNNER_NAME", "double"), "`NAME` of the runner")
		flags.StringVar(&added.url, "url", environment("CI_SERVER_URL", "https://gitlab.example.com"), "`URL` of GitLab")
		flags.StringVar(&added.token, "token", environment("CI_SERVER_TOKEN", "glrt-double"), "`TOKEN` of the runner")
		if err := flags.Parse(arguments[2:]); err != nil {
			return 2, err
		}
		return 0, register(*file, takesEnvironment, added)
	case "--version", "-v":
		fmt.Printf("Version:      %s\nSDK:          %s\nStands for:   GitLab Runner %s to %s\n",
			version, generation.sdk(), generation.First, generation.Last)
		return 0, nil
	default:
		fmt.Fprintf(os.Stderr, usage, version, generation.sdk(), arguments[0])
		return 2, nil
	}
}

func runOptions(arguments []string) (options, error) {
	var chosen options
	every, err := time.ParseDuration(environment("FAIL_EVERY", "1s"))
	if err != nil {
		return chosen, fmt.Errorf("FAIL_EVERY: %w", err)
	}
	job, err := time.ParseDuration(environment("JOB", "0s"))
	if err != nil {
		return chosen, fmt.Errorf("JOB: %w", err)
	}
	flags := flag.NewFlagSet("run", flag.ContinueOnError)
	file := configFlag(flags)
	flags.BoolVar(&chosen.fail, "fail", environment("FAIL", "") != "", "log errors")
	flags.DurationVar(&chosen.failEvery, "fail-every", every, "`TIME` from one error to the next")
	message := `Job failed (system failure): pods "runner-double" not found`
	flags.StringVar(&chosen.failMessage, "fail-message", environment("FAIL_MESSAGE", message), "`TEXT` of the errors")
	flags.DurationVar(&chosen.job, "job", job, "`TIME` that a job takes, which begins at the start")
	if err := flags.Parse(arguments); err != nil {
		return chosen, err
	}
	if chosen.failEvery <= 0 {
		return chosen, errors.New("FAIL_EVERY must be more than nothing")
	}
	chosen.config = *file
	return chosen, nil
}

func configFlag(flags *flag.FlagSet) *string {
	return flags.String("config", environment("CONFIG_FILE", "/etc/gitlab-runner/config.toml"), "`FILE` to read")
}

func environment(name, otherwise string) string {
	if value, set := os.LookupEnv(name); set && value != "" {
		return value
	}
	return otherwise
}
