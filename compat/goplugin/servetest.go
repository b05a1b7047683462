package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/plugwire/plugwire/core/plugin"
)

// testCookie is what the plugin of a test finds, whatever the environment has.
const testCookie = "PLUGIN_MAGIC_COOKIE"

// serveTest serves in the process of a test.
func serveTest(opts *ServeConfig) {
	if opts.Test.CloseCh != nil {
		defer close(opts.Test.CloseCh)
	}
	if err := opts.Test.serve(opts); err != nil {
		fmt.Fprintf(os.Stderr, "serving in a test: %v\n", err)
	}
}

func (t *ServeTestConfig) serve(opts *ServeConfig) error {
	broker := newBroker(opts.logger())
	defer broker.Close() //nolint:errcheck // always nil
	binding, served, err := opts.binding(broker)
	if err != nil {
		return err
	}
	ctx := t.Context
	if ctx == nil {
		ctx = context.Background()
	}
	if t.SyncStdio {
		printed, restore, err := teeStdio()
		if err != nil {
			return err
		}
		defer restore()
		served = append(served, printed)
	}
	return plugin.Serve(ctx, binding, append(served,
		plugin.WithCookie(testCookie, testCookie),
		plugin.WithLookupEnv(lookupTest),
		plugin.WithAnswerWriter(&reattachWriter{t}))...)
}

// lookupTest finds the variables of a host on go-plugin that a test may set.
func lookupTest(name string) (string, bool) {
	switch name {
	case testCookie:
		return testCookie, true
	case "PLUGIN_PROTOCOL_VERSIONS", "PLUGIN_MIN_PORT", "PLUGIN_MAX_PORT", "PLUGIN_CLIENT_CERT", "PLUGIN_MULTIPLEX_GRPC", EnvUnixSocketDir, EnvUnixSocketGroup:
		return os.LookupEnv(name)
	default:
		return "", false
	}
}

// reattachWriter takes the answer of the plugin, and sends what a host needs to reattach.
type reattachWriter struct{ test *ServeTestConfig }

// Write implements [io.Writer].
func (w *reattachWriter) Write(line []byte) (int, error) {
	config, err := parseAnswer(string(line))
	if err != nil {
		return 0, err
	}
	if w.test.ReattachConfigCh != nil {
		w.test.ReattachConfigCh <- config
	}
	return len(line), nil
}

var errAnswer = errors.New("the answer of the plugin is not one of go-plugin's")

func parseAnswer(line string) (*ReattachConfig, error) {
	fields := strings.Split(strings.TrimSpace(line), "|")
	if len(fields) < 5 {
		return nil, errAnswer
	}
	config := &ReattachConfig{Protocol: Protocol(fields[4]), Pid: os.Getpid(), Test: true}
	if _, err := fmt.Sscan(fields[1], &config.ProtocolVersion); err != nil {
		return nil, errors.Join(errAnswer, err)
	}
	var err error
	config.Addr, err = resolve(fields[2], fields[3])
	return config, err
}

// teeStdio makes what the process prints on os.Stdout and os.Stderr go to hosts too. restore
// undoes that.
func teeStdio() (printed plugin.Option, restore func(), err error) {
	stdout, stderr := os.Stdout, os.Stderr
	outReader, outWriter, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	errReader, errWriter, err := os.Pipe()
	if err != nil {
		return nil, nil, errors.Join(err, outReader.Close(), outWriter.Close())
	}
	os.Stdout, os.Stderr = outWriter, errWriter
	out, errs := newTeeReader(outReader, stdout), newTeeReader(errReader, stderr)
	return plugin.WithPrinted(out, errs), func() {
		os.Stdout, os.Stderr = stdout, stderr
		_ = errors.Join(outWriter.Close(), errWriter.Close()) // nothing is buffered
		<-out.ended
		<-errs.ended
	}, nil
}

// teeReader reads a pipe to its end, and writes what it has read to where it went before.
type teeReader struct {
	pipe  *os.File
	also  io.Writer
	ended chan struct{} // closed at the end
}

func newTeeReader(pipe *os.File, also io.Writer) *teeReader {
	return &teeReader{pipe: pipe, also: also, ended: make(chan struct{})}
}

// Read implements [io.Reader].
func (t *teeReader) Read(b []byte) (int, error) {
	n, err := t.pipe.Read(b)
	_, _ = t.also.Write(b[:n]) // the test's own output
	if err != nil {
		_ = t.pipe.Close() // it has been read
		close(t.ended)
	}
	return n, err
}
