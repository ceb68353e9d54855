// Package sentry sends log lines with sentry-go, in the version that the program's module asks for. Package, type and method have
// the runner's names: they are the newest frame of every stack.
package sentry

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"errortracking.dev/runner/double"
	"github.com/getsentry/sentry-go"
	"github.com/sirupsen/logrus"
)

// flushTimeout is how long a line waits that ends the process.
const flushTimeout = 10 * time.Second

// LogHook is a client of one DSN.
type LogHook struct {
	client *sentry.Client
	tags   map[string]string
}

// NewLogHook takes an empty DSN too, which the library replaces by SENTRY_DSN.
func NewLogHook(dsn string, tags map[string]string, transport http.RoundTripper) (double.LogHook, error) {
	client, err := sentry.NewClient(sentry.ClientOptions{Dsn: dsn, HTTPTransport: transport})
	if err != nil {
		return nil, err
	}
	return &LogHook{client: client, tags: tags}, nil
}

// Delivered is any 2xx.
func Delivered(status int) bool { return status/100 == 2 }

// Levels of the runner's hook.
func (*LogHook) Levels() []logrus.Level {
	return []logrus.Level{logrus.PanicLevel, logrus.FatalLevel, logrus.ErrorLevel}
}

// Fire makes an exception of the message, and a tag of each field.
func (h *LogHook) Fire(entry *logrus.Entry) error {
	scope := sentry.NewScope()
	scope.SetTags(h.tags)
	for key, value := range entry.Data {
		scope.SetTag(key, fmt.Sprint(value))
	}
	fatal := entry.Level <= logrus.FatalLevel
	scope.SetLevel(sentry.LevelError)
	if fatal {
		scope.SetLevel(sentry.LevelFatal)
	}
	h.client.CaptureException(errors.New(entry.Message), nil, scope)
	if fatal {
		h.client.Flush(flushTimeout)
	}
	return nil
}

// DSN is the environment's if NewLogHook was given none.
func (h *LogHook) DSN() string { return h.client.Options().Dsn }

// Flush waits for the queue.
func (h *LogHook) Flush(timeout time.Duration) { h.client.Flush(timeout) }
