// The runner up to 14.6, on raven-go. Those pinned a commit of 2016, which no module proxy has; v0.1.0 differs from it in what
// transport.go and NewLogHook make up for.
package main

import (
	"net/http"

	"errortracking.dev/runner/double"
)

func main() {
	double.Main(double.Generation{
		Library:    "github.com/getsentry/raven-go",
		First:      "1.0",
		Last:       "14.6",
		Version:    "14.6.1",
		Delivered:  func(status int) bool { return status == http.StatusOK },
		NewLogHook: NewLogHook,
	})
}
