module errortracking.dev/runner/sentry-0.13

go 1.26.0

require errortracking.dev/runner/double v0.0.0

require (
	github.com/BurntSushi/toml v1.6.0 // indirect
	github.com/getsentry/sentry-go v0.13.0 // indirect
	github.com/sirupsen/logrus v1.9.3 // indirect
	golang.org/x/sys v0.0.0-20220715151400-c0bba94af5f8 // indirect
)

replace errortracking.dev/runner/double => ../double
