// The runner 19.0 to 19.2, on sentry-go 0.45.0.
package main

import (
	"errortracking.dev/runner/double"
	"errortracking.dev/runner/double/helpers/sentry"
)

func main() {
	double.Main(double.Generation{
		Library:          "github.com/getsentry/sentry-go",
		First:            "19.0",
		Last:             "19.2",
		Version:          "19.2.0",
		EnvironmentSince: "19.2",
		Delivered:        sentry.Delivered,
		NewLogHook:       sentry.NewLogHook,
	})
}
