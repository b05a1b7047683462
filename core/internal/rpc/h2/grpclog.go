package h2

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/grpclog"
)

const (
	// maxLogLines is how many lines about peers are logged in logInterval. A peer can cause
	// a line with a few bytes, as often as it likes.
	maxLogLines = 10
	logInterval = time.Minute
	// maxLogText is the length of such a line, in bytes. It may quote what a peer has sent.
	maxLogText = 1 << 10
)

// grpc writes errors to the standard error of the process, whatever logger a program has
// given this framework, and it has one logger for all connections. A plugin that sent
// GOAWAY frames in a loop could fill the standard error of its host with them.
//
// So this package replaces that logger before any code can use it. It does not if grpc's
// environment variables ask for its log. A program that wants grpc's lines itself calls
// [grpclog.SetLoggerV2] in its main function.
var reports = func() *reporter {
	r := new(reporter)
	for _, name := range []string{"GRPC_GO_LOG_SEVERITY_LEVEL", "GRPC_GO_LOG_VERBOSITY_LEVEL"} {
		if os.Getenv(name) != "" {
			return r
		}
	}
	grpclog.SetLoggerV2(r)
	return r
}()

// reporter is a logger for grpc. It passes errors on to the logger of the peer that was
// made last: grpc does not say which connection they are about.
type reporter struct {
	lines limiter

	mu   sync.Mutex // guards the field below
	logs []*slog.Logger
}

var _ grpclog.DepthLoggerV2 = (*reporter)(nil)

// to adds a logger, until the returned function is called.
func (r *reporter) to(logger *slog.Logger) (end func()) {
	if logger == nil {
		return func() {}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.logs = append(r.logs, logger)
	return sync.OnceFunc(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		i := slices.Index(r.logs, logger)
		r.logs = slices.Delete(r.logs, i, i+1)
	})
}

func (r *reporter) report(text string) {
	r.mu.Lock()
	var logger *slog.Logger
	if len(r.logs) > 0 {
		logger = r.logs[len(r.logs)-1]
	}
	r.mu.Unlock()
	if logger == nil {
		return // no connection is open
	}
	if len(text) > maxLogText {
		text = strings.ToValidUTF8(text[:maxLogText], "") + "..."
	}
	r.lines.warn(logger, "grpc reports an error, about this connection or another", "text", strings.TrimSpace(text))
}

// limiter bounds the lines of one kind.
type limiter struct {
	mu         sync.Mutex // guards the fields below
	began      time.Time  // of the interval
	lines      int        // in it
	suppressed int        // since the last line
}

// warn logs a line, or counts it for the next.
func (l *limiter) warn(logger *slog.Logger, message string, args ...any) {
	l.mu.Lock()
	if now := time.Now(); now.Sub(l.began) > logInterval {
		l.began, l.lines = now, 0
	}
	if l.lines == maxLogLines {
		l.suppressed++
		l.mu.Unlock()
		return
	}
	l.lines++
	if l.suppressed > 0 {
		args = append(args, "suppressed", l.suppressed)
		l.suppressed = 0
	}
	l.mu.Unlock()
	logger.Warn(message, args...) //nolint:sloglint // grpc makes the message
}

// Info implements [grpclog.LoggerV2].
func (*reporter) Info(...any) {}

// Infoln implements [grpclog.LoggerV2].
func (*reporter) Infoln(...any) {}

// Infof implements [grpclog.LoggerV2].
func (*reporter) Infof(string, ...any) {}

// InfoDepth implements [grpclog.DepthLoggerV2].
func (*reporter) InfoDepth(int, ...any) {}

// Warning implements [grpclog.LoggerV2]. grpc's own logger leaves warnings out too.
func (*reporter) Warning(...any) {}

// Warningln implements [grpclog.LoggerV2].
func (*reporter) Warningln(...any) {}

// Warningf implements [grpclog.LoggerV2].
func (*reporter) Warningf(string, ...any) {}

// WarningDepth implements [grpclog.DepthLoggerV2].
func (*reporter) WarningDepth(int, ...any) {}

// Error implements [grpclog.LoggerV2].
func (r *reporter) Error(args ...any) { r.report(fmt.Sprint(args...)) }

// Errorln implements [grpclog.LoggerV2].
func (r *reporter) Errorln(args ...any) { r.report(fmt.Sprintln(args...)) }

// Errorf implements [grpclog.LoggerV2].
func (r *reporter) Errorf(format string, args ...any) { r.report(fmt.Sprintf(format, args...)) }

// ErrorDepth implements [grpclog.DepthLoggerV2].
func (r *reporter) ErrorDepth(_ int, args ...any) { r.report(fmt.Sprintln(args...)) }

// Fatal implements [grpclog.LoggerV2]. grpc ends the process then: it is a mistake of the
// program, such as a service that is registered twice, and nothing that a peer does.
func (r *reporter) Fatal(args ...any) { r.fatal(fmt.Sprint(args...)) }

// Fatalln implements [grpclog.LoggerV2].
func (r *reporter) Fatalln(args ...any) { r.fatal(fmt.Sprintln(args...)) }

// Fatalf implements [grpclog.LoggerV2].
func (r *reporter) Fatalf(format string, args ...any) { r.fatal(fmt.Sprintf(format, args...)) }

// FatalDepth implements [grpclog.DepthLoggerV2].
func (r *reporter) FatalDepth(_ int, args ...any) { r.fatal(fmt.Sprintln(args...)) }

func (*reporter) fatal(text string) {
	_, _ = fmt.Fprintf(os.Stderr, "FATAL: %s\n", strings.TrimSpace(text)) // there is no other place
}

// V implements [grpclog.LoggerV2].
func (*reporter) V(level int) bool { return level <= 0 }
