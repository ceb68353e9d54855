module errortracking.dev/runner/double

go 1.26.0

require (
	github.com/BurntSushi/toml v1.6.0
	github.com/getsentry/sentry-go v0.13.0
	github.com/sirupsen/logrus v1.9.3
)

require golang.org/x/sys v0.0.0-20220715151400-c0bba94af5f8 // indirect
