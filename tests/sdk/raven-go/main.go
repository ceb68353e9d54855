// Reports a message and an exception with the client from before sentry-go, which GitLab Runner up to 14.6 has in it.
// It takes only a DSN with a secret part.
package main

import (
	"errors"
	"os"

	"github.com/getsentry/raven-go"
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
	if err := raven.SetDSN(os.Getenv("SENTRY_DSN")); err != nil {
		panic(err)
	}
	raven.SetRelease("shop@1.0.0")
	raven.SetUserContext(&raven.User{ID: "42", Username: "ada"})

	raven.CaptureMessageAndWait("Hello from raven-go", nil)
	if _, err := averagePrice(nil); err != nil {
		raven.CaptureErrorAndWait(err, nil)
	}
}
