package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	"errortracking.dev/runner/double"
	"github.com/getsentry/raven-go"
	"github.com/sirupsen/logrus"
)

// errMissingPrivateKey has the words of 2016. Since 2018 the library takes such a DSN.
var errMissingPrivateKey = errors.New("raven: dsn missing private key")

const flushTimeout = 10 * time.Second

// LogHook is a client of one DSN.
type LogHook struct {
	client *raven.Client
	dsn    string
}

// NewLogHook takes an empty DSN too: the library reads SENTRY_DSN first and lets an empty one change nothing.
func NewLogHook(dsn string, tags map[string]string, transport http.RoundTripper) (double.LogHook, error) {
	if err := hasPrivateKey(dsn); err != nil {
		return nil, err
	}
	// What the environment has is read without a complaint.
	if hasPrivateKey(os.Getenv("SENTRY_DSN")) != nil {
		os.Unsetenv("SENTRY_DSN")
	}
	client, err := raven.NewWithTags(dsn, tags)
	if err != nil {
		return nil, err
	}
	client.Transport = &Transport{client: &http.Client{Transport: transport}}
	hook := &LogHook{client: client, dsn: dsn}
	if dsn == "" && client.URL() != "" {
		hook.dsn = os.Getenv("SENTRY_DSN")
	}
	return hook, nil
}

// hasPrivateKey leaves what the library still refuses to the library: a DSN without a user, and one that is no URL.
func hasPrivateKey(dsn string) error {
	parsed, err := url.Parse(dsn)
	if dsn == "" || err != nil || parsed.User == nil {
		return nil
	}
	if _, has := parsed.User.Password(); !has {
		return errMissingPrivateKey
	}
	return nil
}

// Levels of the runner's hook.
func (*LogHook) Levels() []logrus.Level {
	return []logrus.Level{logrus.PanicLevel, logrus.FatalLevel, logrus.ErrorLevel}
}

// Fire makes an exception of the message, and a tag of each field.
func (h *LogHook) Fire(entry *logrus.Entry) error {
	tags := map[string]string{}
	for key, value := range entry.Data {
		tags[key] = fmt.Sprint(value)
	}
	exception := raven.NewException(errors.New(entry.Message), raven.NewStacktrace(0, 3, nil))
	packet := raven.NewPacket(entry.Message, exception)
	packet.Level = raven.ERROR
	fatal := entry.Level <= logrus.FatalLevel
	if fatal {
		packet.Level = raven.FATAL
	}
	h.client.Capture(packet, tags)
	if fatal {
		h.Flush(flushTimeout)
	}
	return nil
}

// DSN is the environment's if NewLogHook was given none.
func (h *LogHook) DSN() string { return h.dsn }

// Flush waits for the queue, which the library does without a limit.
func (h *LogHook) Flush(timeout time.Duration) {
	done := make(chan struct{})
	go func() {
		h.client.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(timeout):
	}
}
