package double

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// deliveries counts what the log hook captured and how the server answered. It is the transport of every client of a process, so
// that the counts go on through reloads.
type deliveries struct {
	delivered func(status int) bool

	mutex    sync.Mutex
	captured int
	sent     int
	statuses map[string]int
}

func (d *deliveries) capture() {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.captured++
}

func (d *deliveries) counts() (captured, sent int, statuses map[string]int) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	return d.captured, d.sent, maps.Clone(d.statuses)
}

// await waits until each event that was captured has an answer.
func (d *deliveries) await(deadline time.Time) {
	for time.Now().Before(deadline) {
		captured, _, statuses := d.counts()
		for _, answers := range statuses {
			captured -= answers
		}
		if captured <= 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// RoundTrip is Go's default transport, as the runner's hook uses it: its CA folder does not count, SSL_CERT_FILE does.
func (d *deliveries) RoundTrip(request *http.Request) (*http.Response, error) {
	counts := carriesEvent(request)
	response, err := http.DefaultTransport.RoundTrip(request)
	if !counts {
		return response, err
	}
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if err != nil {
		d.statuses["none"]++
		return response, err
	}
	d.statuses[strconv.Itoa(response.StatusCode)]++
	if d.delivered(response.StatusCode) {
		d.sent++
	}
	return response, nil
}

// carriesEvent is false for an envelope with client reports alone.
func carriesEvent(request *http.Request) bool {
	if !strings.HasSuffix(request.URL.Path, "/envelope/") || request.GetBody == nil {
		return true
	}
	body, err := request.GetBody()
	if err != nil {
		return true
	}
	defer body.Close()
	envelope, err := io.ReadAll(body)
	return err != nil || bytes.Contains(envelope, []byte(`"type":"event"`))
}
