package double

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

// formatter writes a line as the runner does: "ERROR: Sentry failure  builds=0 error=…".
type formatter struct{}

func (formatter) Format(entry *logrus.Entry) ([]byte, error) {
	var line bytes.Buffer
	if entry.Level <= logrus.WarnLevel {
		fmt.Fprintf(&line, "%s: ", strings.ToUpper(entry.Level.String()))
	}
	line.WriteString(entry.Message)
	if len(entry.Data) > 0 {
		line.WriteByte(' ')
	}
	for _, key := range slices.Sorted(maps.Keys(entry.Data)) {
		fmt.Fprintf(&line, " %s=%v", key, entry.Data[key])
	}
	line.WriteByte('\n')
	return line.Bytes(), nil
}

// currentHook is the hook of the logger: the LogHook of the configuration that is loaded, if it has one.
type currentHook struct {
	deliveries *deliveries
	mutex      sync.Mutex
	hook       LogHook
}

// Levels: warnings are not sent.
func (*currentHook) Levels() []logrus.Level {
	return []logrus.Level{logrus.PanicLevel, logrus.FatalLevel, logrus.ErrorLevel}
}

func (c *currentHook) Fire(entry *logrus.Entry) error {
	hook := c.get()
	if hook == nil || hook.DSN() == "" {
		return nil
	}
	c.deliveries.capture()
	return hook.Fire(entry)
}

func (c *currentHook) get() LogHook {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.hook
}

func (c *currentHook) set(hook LogHook) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.hook = hook
}

// state is a line of JSON on standard output: an event, and what holds at its time.
type state struct {
	Time    string `json:"time"`
	Event   string `json:"event"`
	Version string `json:"version"`
	SDK     string `json:"sdk"`
	// Source is where the DSN comes from: "config.toml", "environment", "library" (an empty sentry_dsn, which the library replaces
	// by SENTRY_DSN) or "none".
	Source string `json:"source"`
	// Host and Key (eight characters of the public key) are of the DSN that errors are sent to; both are empty if they are not sent.
	Host     string         `json:"host"`
	Key      string         `json:"key"`
	Builds   int            `json:"builds"`
	Captured int            `json:"captured"`
	Sent     int            `json:"sent"`
	Statuses map[string]int `json:"statuses"`
	// Reason is why the configuration or its DSN was refused.
	Reason string `json:"reason,omitempty"`
}

func (s state) write(to io.Writer) {
	s.Time = time.Now().UTC().Format(time.RFC3339Nano)
	line, err := json.Marshal(s)
	if err != nil {
		panic(err) // texts and numbers
	}
	fmt.Fprintf(to, "%s\n", line)
}

// hostAndKey is what may be shown of a DSN.
func hostAndKey(dsn string) (host, key string) {
	parsed, err := url.Parse(dsn)
	if dsn == "" || err != nil || parsed.User == nil {
		return "", ""
	}
	key = parsed.User.Username()
	return parsed.Host, key[:min(8, len(key))]
}

// withoutDSN is the text of an error that may quote the DSN. The runner's own log has it.
func withoutDSN(text, dsn string) string {
	if dsn == "" {
		return text
	}
	return strings.NewReplacer(strconv.Quote(dsn), "[DSN]", dsn, "[DSN]").Replace(text)
}
