module errortracking.dev/runner/sentry-0.45

go 1.26.0

require errortracking.dev/runner/double v0.0.0

require (
	github.com/BurntSushi/toml v1.6.0 // indirect
	github.com/getsentry/sentry-go v0.45.0 // indirect
	github.com/sirupsen/logrus v1.9.3 // indirect
	golang.org/x/sys v0.18.0 // indirect
	golang.org/x/text v0.14.0 // indirect
)

replace errortracking.dev/runner/double => ../double
