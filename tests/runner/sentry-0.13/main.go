// The runner 14.7 to 18.8, on sentry-go 0.13.0. Up to 15.9 it was 0.11.0, which sends the same.
package main

import (
	"errortracking.dev/runner/double"
	"errortracking.dev/runner/double/helpers/sentry"
)

func main() {
	double.Main(double.Generation{
		Library:    "github.com/getsentry/sentry-go",
		First:      "14.7",
		Last:       "18.8",
		Version:    "18.8.0",
		Delivered:  sentry.Delivered,
		NewLogHook: sentry.NewLogHook,
	})
}
