// Reports a message and an exception to the project that SENTRY_DSN names.
package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/getsentry/sentry-go"
)

func averagePrice(cart []int) (int, error) {
	if len(cart) == 0 {
		return 0, errors.New("the cart is empty")
	}
	sum := 0
	for _, price := range cart {
		sum += price
	}
	return sum / len(cart), nil
}

func main() {
	err := sentry.Init(sentry.ClientOptions{
		// No Dsn here: the SDK takes SENTRY_DSN from the environment.
		Release: "shop@1.0.0",
		Debug:   os.Getenv("SENTRY_DEBUG") == "1",
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	sentry.ConfigureScope(func(scope *sentry.Scope) {
		scope.SetUser(sentry.User{ID: "42", Username: "ada"})
	})

	sentry.CaptureMessage("Hello from Go")
	if _, err := averagePrice(nil); err != nil {
		// A Go error has no stack of its own: the SDK takes the one of this line.
		sentry.CaptureException(err)
	}

	// Events are sent in the background: a program that ends waits for them.
	if !sentry.Flush(10 * time.Second) {
		os.Exit(1)
	}
}
