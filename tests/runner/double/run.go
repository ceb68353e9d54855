package double

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
)

const (
	// reloadInterval is how often the runner looks at the time of config.toml.
	reloadInterval = 3 * time.Second
	// flushTimeout is how long a fatal line, and here also the end, waits for what is queued.
	flushTimeout = 10 * time.Second
)

// options of `run`.
type options struct {
	config string
	// fail logs an error every failEvery, with failMessage.
	fail        bool
	failEvery   time.Duration
	failMessage string
	// job is how long the one job takes that begins at the start; none if zero.
	job time.Duration
}

// process is a running double.
type process struct {
	generation       Generation
	version          string
	takesEnvironment bool
	options          options
	out              io.Writer

	logger     *logrus.Logger
	current    *currentHook
	deliveries *deliveries
	// replaced are the hooks of earlier configurations, whose queues may not be empty.
	replaced []LogHook
	loaded   config
	builds   int
	failures int
}

func newProcess(generation Generation, version string, takesEnvironment bool, options options) *process {
	deliveries := &deliveries{delivered: generation.Delivered, statuses: map[string]int{}}
	logger := logrus.New()
	logger.SetOutput(os.Stderr)
	logger.SetFormatter(formatter{})
	current := &currentHook{deliveries: deliveries}
	logger.AddHook(current)
	return &process{
		generation: generation, version: version, takesEnvironment: takesEnvironment, options: options, out: os.Stdout,
		logger: logger, current: current, deliveries: deliveries,
	}
}

// log has the field that every line of the runner's loop has.
func (p *process) log() *logrus.Entry { return p.logger.WithField("builds", p.builds) }

// tags that every event has.
func (p *process) tags() map[string]string {
	hostname, _ := os.Hostname()
	return map[string]string{
		"built": "2026-11-01T00:00:00+0000", "version": p.version, "revision": "d0b1e000", "branch": "double",
		"go-version": runtime.Version(), "go-os": runtime.GOOS, "go-arch": runtime.GOARCH, "hostname": hostname,
	}
}

func (p *process) source() string {
	switch {
	case p.loaded.SentryDSN == nil:
		return "none"
	case *p.loaded.SentryDSN == "" && os.Getenv("SENTRY_DSN") != "":
		return "library"
	case p.loaded.fromEnvironment:
		return "environment"
	default:
		return "config.toml"
	}
}

func (p *process) say(event, reason string) {
	now := state{
		Event: event, Version: p.version, SDK: p.generation.sdk(), Source: p.source(), Builds: p.builds, Reason: reason,
	}
	if hook := p.current.get(); hook != nil {
		now.Host, now.Key = hostAndKey(hook.DSN())
	}
	now.Captured, now.Sent, now.Statuses = p.deliveries.counts()
	now.write(p.out)
}

// load reads config.toml and makes the log hook anew. When the file does not parse, the configuration before stays; when its DSN
// is refused, everything else is loaded and nothing is sent any more.
func (p *process) load() error {
	loaded, err := loadConfig(p.options.config, p.takesEnvironment)
	if err != nil {
		return err
	}
	p.loaded = loaded
	p.log().Infoln("Configuration loaded")

	var hook LogHook
	refused := ""
	if loaded.SentryDSN != nil {
		hook, err = p.generation.NewLogHook(*loaded.SentryDSN, p.tags(), p.deliveries)
		if err != nil {
			hook, refused = nil, withoutDSN(withoutDSN(err.Error(), *loaded.SentryDSN), os.Getenv("SENTRY_DSN"))
		}
	}
	if before := p.current.get(); before != nil {
		p.replaced = append(p.replaced, before)
	}
	p.current.set(hook)
	p.say("configuration_loaded", "")
	if refused != "" {
		p.log().WithField("error", refused).Errorln("Sentry failure")
		p.say("sentry_failure", refused)
	}
	return nil
}

// reload tells of a file that cannot be loaded, to the tracker of the configuration before too.
func (p *process) reload() error {
	err := p.load()
	if err != nil {
		p.log().Errorln("Failed to load config", err)
		p.say("configuration_failed", err.Error())
	}
	return err
}

// reloadIfWritten looks at the file's time. A file that could not be loaded is not tried again until it is written again.
func (p *process) reloadIfWritten() {
	info, err := os.Stat(p.options.config)
	if err != nil || !info.ModTime().After(p.loaded.modified) {
		return
	}
	if p.reload() != nil {
		p.loaded.modified = info.ModTime()
	}
}

// fail logs what becomes an event: a failure of the runner's own, of a job whose script had no part in it.
func (p *process) fail() {
	p.failures++
	p.log().WithFields(logrus.Fields{"job": p.failures, "project": 1, "runner": "double01"}).Errorln(p.options.failMessage)
}

// run returns the exit code.
func (p *process) run() int {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	stops := make(chan os.Signal, 1)
	signal.Notify(stops, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGINT)

	if p.reload() != nil {
		return 1
	}
	reloads := time.NewTicker(reloadInterval)
	seconds := time.NewTicker(time.Second)
	var failures <-chan time.Time
	if p.options.fail {
		failures = time.Tick(p.options.failEvery)
	}
	var job <-chan time.Time
	if p.options.job > 0 {
		job = time.After(p.options.job)
		p.builds = 1
		p.say("job_started", "")
	}

	code, stopping := 0, false
	for !stopping || p.builds > 0 {
		select {
		case <-failures:
			p.fail()
		case <-seconds.C:
			p.say("status", "")
		case <-job:
			p.builds = 0
			p.say("job_finished", "")
		case <-reloads.C:
			// The loop that reloads ends with the signal: what still runs keeps its DSN.
			if !stopping {
				p.reloadIfWritten()
			}
		case <-hangups:
			if !stopping {
				_ = p.reload()
			}
		case received := <-stops:
			stopping = true
			p.say("stopping", "")
			if received != syscall.SIGQUIT && p.builds > 0 {
				p.builds, code = 0, 1
				p.say("job_cut", "")
			}
		}
	}
	p.end()
	return code
}

// end waits for the queues, which the runner does for fatal lines alone, so that the counts are final.
func (p *process) end() {
	deadline := time.Now().Add(flushTimeout)
	hooks := p.replaced
	if hook := p.current.get(); hook != nil {
		hooks = append(hooks, hook)
	}
	for _, hook := range hooks {
		hook.Flush(time.Until(deadline))
	}
	// sentry-go 0.48 may have taken an event out of one queue and not put it into the next one.
	p.deliveries.await(deadline)
	p.say("exiting", "")
	captured, sent, _ := p.deliveries.counts()
	fmt.Fprintln(p.out, "sent="+strconv.Itoa(sent)+" failed="+strconv.Itoa(captured-sent))
}
