module errortracking.dev/runner/raven

go 1.26.0

require (
	errortracking.dev/runner/double v0.0.0
	github.com/getsentry/raven-go v0.1.0
	github.com/sirupsen/logrus v1.9.3
)

require (
	github.com/BurntSushi/toml v1.6.0 // indirect
	github.com/certifi/gocertifi v0.0.0-20210507211836-431795d63e8d // indirect
	github.com/pkg/errors v0.9.1 // indirect
	golang.org/x/sys v0.0.0-20220715151400-c0bba94af5f8 // indirect
)

replace errortracking.dev/runner/double => ../double
