package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/plugins/dataprocessor/example"
)

// output prints what the command finds, as text or as one JSON object a line.
// Each line is one write, so that a reader sees a result as soon as it is there.
type output struct {
	w    io.Writer
	json bool

	connected connection // printed at the end, if as text
}

// The JSON objects. They are the interface of -json: fields are only added.
type (
	connection struct {
		Type      string `json:"type"` // "connection"
		Protocol  string `json:"protocol"`
		Version   int    `json:"version"`
		Transport string `json:"transport"`
		Skipped   string `json:"skipped,omitempty"` // why it is not one that was preferred
		Session   string `json:"session"`
		Security  string `json:"security"`
		PID       int    `json:"pid"`
		StartMS   int64  `json:"start_ms"`
	}
	result struct {
		Type           string  `json:"type"` // "result"
		Line           int     `json:"line"`
		Result         string  `json:"result"`
		StatusCode     int32   `json:"status_code"`
		ProcessingTime float64 `json:"processing_time"` // seconds
	}
	storedResult struct {
		Type      string `json:"type"` // "stored"
		ID        string `json:"id"`
		Data      string `json:"data"`
		Timestamp int64  `json:"timestamp"` // seconds since the Unix epoch
	}
	pluginStatus struct {
		Type    string `json:"type"` // "status"
		Status  string `json:"status"`
		Version string `json:"version"`
		Uptime  int64  `json:"uptime"` // seconds
	}
	latency struct {
		Type     string  `json:"type"` // "latency"
		Calls    int     `json:"calls"`
		MinUS    float64 `json:"min_us"` // microseconds
		MedianUS float64 `json:"median_us"`
		P99US    float64 `json:"p99_us"` // of 99 in 100 calls, at most
		MaxUS    float64 `json:"max_us"`
	}
	failure struct {
		Type    string `json:"type"` // "error"
		Message string `json:"message"`
		Line    int    `json:"line,omitempty"` // of the input
		Code    string `json:"code,omitempty"` // gRPC's, if a call failed
	}
)

// connection prints how the plugin is connected; as text, the status and the
// latency do.
func (o *output) connection(info host.Info) error {
	o.connected = connection{
		Type:      "connection",
		Protocol:  info.Protocol,
		Version:   info.Version,
		Transport: info.Transport.String(),
		Skipped:   info.Skipped,
		Session:   info.Session,
		Security:  info.Security,
		PID:       info.PID,
		StartMS:   info.StartDuration.Milliseconds(),
	}
	if !o.json {
		return nil
	}
	return o.object(o.connected)
}

func (o *output) result(line int, r *example.ProcessResponse) error {
	if !o.json {
		return o.text(r.GetResult() + "\n")
	}
	return o.object(result{"result", line, r.GetResult(), r.GetStatusCode(), r.GetProcessingTime()})
}

func (o *output) stored(item *example.ResultItem) error {
	if !o.json {
		at := time.Unix(item.GetTimestamp(), 0).Format(time.RFC3339)
		return o.text(item.GetId() + "\t" + at + "\t" + item.GetData() + "\n")
	}
	return o.object(storedResult{"stored", item.GetId(), item.GetData(), item.GetTimestamp()})
}

func (o *output) status(s *example.StatusResponse) error {
	if !o.json {
		return o.text(fmt.Sprintf("%s, version %s, up %d s\n%s",
			s.GetStatus(), s.GetVersion(), s.GetUptime(), o.connected.describe()))
	}
	return o.object(pluginStatus{"status", s.GetStatus(), s.GetVersion(), s.GetUptime()})
}

func (o *output) latency(l latency) error {
	if !o.json {
		return o.text(fmt.Sprintf("%d calls: median %.1f us, 99 in 100 within %.1f us, from %.1f to %.1f us\n%s",
			l.Calls, l.MedianUS, l.P99US, l.MinUS, l.MaxUS, o.connected.describe()))
	}
	return o.object(l)
}

// describe returns the connection as text, in one line, or in two if a
// preferred transport was skipped.
func (c connection) describe() string {
	text := fmt.Sprintf("protocol %s/%d over %s, %s session, secured by %s, pid %d, started in %d ms\n",
		c.Protocol, c.Version, c.Transport, c.Session, c.Security, c.PID, c.StartMS)
	if c.Skipped != "" {
		text += "skipped " + c.Skipped + "\n"
	}
	return text
}

// failure prints err on stderr and, with -json, also as an object.
func (o *output) failure(err error, stderr io.Writer) error {
	text := "dataprocessor-host: " + message(err) + "\n"
	if _, ok := errors.AsType[usageError](err); ok {
		text += "dataprocessor-host -h shows the usage\n"
	}
	_, failed := io.WriteString(stderr, text)
	if !o.json {
		return failed
	}
	f := failure{Type: "error"}
	if at, ok := errors.AsType[*lineError](err); ok {
		f.Line, err = at.line, at.err
	}
	f.Message = err.Error()
	if s, ok := status.FromError(err); ok {
		f.Message, f.Code = s.Message(), s.Code().String()
	}
	return errors.Join(failed, o.object(f))
}

func (o *output) object(v any) error {
	var line strings.Builder
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return err
	}
	return o.text(line.String())
}

func (o *output) text(s string) error {
	_, err := io.WriteString(o.w, s)
	return err
}

// message returns err as a person should read it: without gRPC's own words
// around a status.
func message(err error) string {
	if at, ok := errors.AsType[*lineError](err); ok {
		return fmt.Sprintf("line %d: %s", at.line, message(at.err))
	}
	if s, ok := status.FromError(err); ok {
		return fmt.Sprintf("%s (%s)", s.Message(), s.Code())
	}
	return err.Error()
}
