// The runner 19.3, on sentry-go 0.48.0.
package main

import (
	"errortracking.dev/runner/double"
	"errortracking.dev/runner/double/helpers/sentry"
)

func main() {
	double.Main(double.Generation{
		Library:          "github.com/getsentry/sentry-go",
		First:            "19.3",
		Last:             "19.3",
		Version:          "19.3.0",
		EnvironmentSince: "19.2",
		Delivered:        sentry.Delivered,
		NewLogHook:       sentry.NewLogHook,
	})
}
