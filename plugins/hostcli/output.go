package hostcli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/host"
)

// All hosts print these JSON objects. They are the interface of -json: fields
// are only added.
type (
	// A Connection describes the connection to the plugin.
	Connection struct {
		Type      string `json:"type"` // "connection"
		Protocol  string `json:"protocol"`
		Version   int    `json:"version"`
		Transport string `json:"transport"`
		Skipped   string `json:"skipped,omitempty"` // why a preferred transport was skipped
		Session   string `json:"session"`
		Security  string `json:"security"`
		PID       int    `json:"pid"`
		StartMS   int64  `json:"start_ms"`
	}
	// A Failure describes why the command failed.
	Failure struct {
		Type    string `json:"type"` // "error"
		Message string `json:"message"`
		Line    int    `json:"line,omitempty"` // line of the input
		Code    string `json:"code,omitempty"` // gRPC's code, if a call failed
	}
)

// A LineError adds the line of the input to an error.
type LineError struct {
	Line int
	Err  error
}

func (e *LineError) Error() string { return Message(e) }
func (e *LineError) Unwrap() error { return e.Err }

// JSON reports whether the output is JSON objects, one on each line.
func (s *Session) JSON() bool { return s.settings.json }

// text prints text, in one write, so that a reader sees a result as soon as it is
// there. A terminal gets a safe form, because the text may come from the plugin.
// Any other output gets it unchanged.
func (s *Session) text(text string) error {
	if s.terminal {
		text = Safe(text)
	}
	if _, err := io.WriteString(s.stdout, text); err != nil {
		return &stdoutError{err}
	}
	return nil
}

// A stdoutError is an error of stdout. The type distinguishes a stdout that was
// closed early from a closed connection to the plugin.
type stdoutError struct{ err error }

func (e *stdoutError) Error() string { return e.err.Error() }
func (e *stdoutError) Unwrap() error { return e.err }

// closedEarly reports whether err means that stdout has no reader any more.
func closedEarly(err error) bool {
	stdout, ok := errors.AsType[*stdoutError](err)
	return ok && errors.Is(stdout, syscall.EPIPE)
}

// object prints v as a JSON object on one line. It has a field "type".
func (s *Session) object(v any) error {
	var line strings.Builder
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return err
	}
	return s.text(line.String())
}

// Print prints v with -json, otherwise the text.
func (s *Session) Print(text string, v any) error {
	if s.JSON() {
		return s.object(v)
	}
	return s.text(text)
}

// Note prints text on stderr, for the user.
func (s *Session) Note(text string) error {
	_, err := io.WriteString(s.stderr, Safe(s.program.Name+": "+text+"\n"))
	return err
}

// Connection describes the connection to the plugin in one line, or in two if a
// preferred transport was skipped.
func (s *Session) Connection() string {
	c := connectionOf(s.plugin.Info())
	text := fmt.Sprintf("protocol %s/%d over %s, %s session, secured by %s, pid %d, started in %d ms\n",
		c.Protocol, c.Version, c.Transport, c.Session, c.Security, c.PID, c.StartMS)
	if c.Skipped != "" {
		text += "skipped " + c.Skipped + "\n"
	}
	return text
}

func connectionOf(info host.Info) Connection {
	return Connection{
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
}

// failure prints err on stderr and, with -json, also as an object.
func (s *Session) failure(err error) error {
	failed := s.Note(Message(err))
	if usage, ok := errors.AsType[usageError](err); ok {
		_, hintErr := io.WriteString(s.stderr, usage.of+" -h shows the usage\n")
		failed = errors.Join(failed, hintErr)
	}
	if !s.settings.json {
		return failed
	}
	f := Failure{Type: "error"}
	if at, ok := errors.AsType[*LineError](err); ok {
		f.Line, err = at.Line, at.Err
	}
	f.Message = err.Error()
	if st, ok := status.FromError(err); ok {
		f.Message, f.Code = st.Message(), st.Code().String()
	}
	return errors.Join(failed, s.object(f))
}

// Message returns the text of err for a person: without gRPC's own words around
// a status.
func Message(err error) string {
	if at, ok := errors.AsType[*LineError](err); ok {
		return fmt.Sprintf("line %d: %s", at.Line, Message(at.Err))
	}
	if s, ok := status.FromError(err); ok {
		return fmt.Sprintf("%s (%s)", s.Message(), s.Code())
	}
	return err.Error()
}
