package main

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"regexp"

	"github.com/getsentry/raven-go"
)

// compressedFrom is the size from which a body is compressed.
const compressedFrom = 1000

// hundredths of the timestamp, which the library of 2016 did not send.
var hundredths = regexp.MustCompile(`("timestamp":"[0-9T:-]+)\.[0-9]+"`)

// Transport sends as the library's own does, with the timestamp of 2016.
type Transport struct{ client *http.Client }

// Send delivers one packet. Any status but 200 is a failure.
func (t *Transport) Send(url, authHeader string, packet *raven.Packet) error {
	if url == "" {
		return nil
	}
	event, err := packet.JSON()
	if err != nil {
		return err
	}
	body, contentType, err := encoded(hundredths.ReplaceAll(event, []byte(`$1"`)))
	if err != nil {
		return err
	}
	request, err := http.NewRequest(http.MethodPost, url, body)
	if err != nil {
		return err
	}
	request.Header.Set("X-Sentry-Auth", authHeader)
	request.Header.Set("User-Agent", "raven-go/1.0")
	request.Header.Set("Content-Type", contentType)
	response, err := t.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("raven: got http status %d", response.StatusCode)
	}
	return nil
}

// encoded is JSON as it is while it is small, else base64 of zlib of it.
func encoded(event []byte) (io.Reader, string, error) {
	if len(event) <= compressedFrom {
		return bytes.NewReader(event), "application/json", nil
	}
	var body bytes.Buffer
	text := base64.NewEncoder(base64.StdEncoding, &body)
	compressor := zlib.NewWriter(text)
	if _, err := compressor.Write(event); err != nil {
		return nil, "", err
	}
	if err := compressor.Close(); err != nil {
		return nil, "", err
	}
	if err := text.Close(); err != nil {
		return nil, "", err
	}
	return &body, "application/octet-stream", nil
}
