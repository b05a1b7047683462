package hclogbridge

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
)

// nameKey is the attribute with a logger's name.
const nameKey = "logger"

// logger is an hclog.Logger on a [slog.Handler].
type logger struct {
	handler slog.Handler // as given to NewLogger
	with    slog.Handler // has the implied pairs
	implied []any
	name    string
	level   *atomic.Int32 // set by SetLevel; shared by all loggers from one NewLogger
}

var _ hclog.Logger = (*logger)(nil)

// NewLogger returns a logger that writes to handler, which must not be nil. The
// handler's level is the logger's. SetLevel raises it for all loggers from one
// NewLogger, like in hclog. A name becomes the attribute "logger", pairs become
// attributes.
//
// The logger is safe for concurrent use if handler is; the handlers of slog
// are.
func NewLogger(handler slog.Handler) hclog.Logger {
	return &logger{handler: handler, with: handler, level: new(atomic.Int32)}
}

// Log implements [hclog.Logger].
func (l *logger) Log(level hclog.Level, msg string, args ...any) { l.log(level, msg, args) }

// Trace implements [hclog.Logger].
func (l *logger) Trace(msg string, args ...any) { l.log(hclog.Trace, msg, args) }

// Debug implements [hclog.Logger].
func (l *logger) Debug(msg string, args ...any) { l.log(hclog.Debug, msg, args) }

// Info implements [hclog.Logger].
func (l *logger) Info(msg string, args ...any) { l.log(hclog.Info, msg, args) }

// Warn implements [hclog.Logger].
func (l *logger) Warn(msg string, args ...any) { l.log(hclog.Warn, msg, args) }

// Error implements [hclog.Logger].
func (l *logger) Error(msg string, args ...any) { l.log(hclog.Error, msg, args) }

// log is called only by the exported methods. Their caller is the record's place.
func (l *logger) log(level hclog.Level, msg string, args []any) {
	if level == hclog.Off || !l.enabled(level) {
		return
	}
	var pc [1]uintptr
	runtime.Callers(3, pc[:]) // the frames of Callers, of log and of log's caller
	record := slog.NewRecord(time.Now(), toSlog(level), msg, pc[0])
	if l.name != "" {
		record.AddAttrs(slog.String(nameKey, l.name))
	}
	record.AddAttrs(attrs(args)...)
	_ = l.with.Handle(context.Background(), record) // slog.Logger ignores the handler's error too
}

// enabled reports whether both levels let a record through.
func (l *logger) enabled(level hclog.Level) bool {
	set := hclog.Level(l.level.Load())
	if level == hclog.NoLevel {
		level = hclog.Info
	}
	return (set == hclog.NoLevel || level >= set) && l.with.Enabled(context.Background(), toSlog(level))
}

// IsTrace implements [hclog.Logger].
func (l *logger) IsTrace() bool { return l.enabled(hclog.Trace) }

// IsDebug implements [hclog.Logger].
func (l *logger) IsDebug() bool { return l.enabled(hclog.Debug) }

// IsInfo implements [hclog.Logger].
func (l *logger) IsInfo() bool { return l.enabled(hclog.Info) }

// IsWarn implements [hclog.Logger].
func (l *logger) IsWarn() bool { return l.enabled(hclog.Warn) }

// IsError implements [hclog.Logger].
func (l *logger) IsError() bool { return l.enabled(hclog.Error) }

// ImpliedArgs implements [hclog.Logger].
func (l *logger) ImpliedArgs() []any { return slices.Clone(l.implied) }

// With implements [hclog.Logger]. As in hclog, a pair replaces an earlier one with
// its key.
func (l *logger) With(args ...any) hclog.Logger {
	sub := *l
	sub.implied = make([]any, 0, len(l.implied)+len(args)+1)
	if len(args)%2 != 0 {
		last := len(args) - 1
		args = append(slices.Clip(args[:last]), hclog.MissingKey, args[last])
	}
	for i := 0; i+1 < len(l.implied); i += 2 {
		if !hasKey(args, l.implied[i]) {
			sub.implied = append(sub.implied, l.implied[i], l.implied[i+1])
		}
	}
	for i := 0; i+1 < len(args); i += 2 {
		if !hasKey(args[i+2:], args[i]) {
			sub.implied = append(sub.implied, args[i], args[i+1])
		}
	}
	sub.with = l.handler.WithAttrs(attrs(sub.implied))
	return &sub
}

func hasKey(pairs []any, key any) bool {
	for i := 0; i+1 < len(pairs); i += 2 {
		if keyText(pairs[i]) == keyText(key) {
			return true
		}
	}
	return false
}

// Name implements [hclog.Logger].
func (l *logger) Name() string { return l.name }

// Named implements [hclog.Logger].
func (l *logger) Named(name string) hclog.Logger {
	if l.name != "" {
		name = l.name + "." + name
	}
	return l.ResetNamed(name)
}

// ResetNamed implements [hclog.Logger].
func (l *logger) ResetNamed(name string) hclog.Logger {
	sub := *l
	sub.name = name
	return &sub
}

// SetLevel implements [hclog.Logger].
func (l *logger) SetLevel(level hclog.Level) { l.level.Store(int32(level)) }

// GetLevel implements [hclog.Logger]: the lowest level that the logger lets
// through.
func (l *logger) GetLevel() hclog.Level {
	for level := hclog.Trace; level <= hclog.Error; level++ {
		if l.enabled(level) {
			return level
		}
	}
	return hclog.Off
}

// StandardLogger implements [hclog.Logger].
func (l *logger) StandardLogger(opts *hclog.StandardLoggerOptions) *log.Logger { //nolint:forbidigo // hclog has it so
	return log.New(l.StandardWriter(opts), "", 0) //nolint:forbidigo // hclog has it so
}

// StandardWriter implements [hclog.Logger]. hclog's own writer finds the levels of
// lines.
func (l *logger) StandardWriter(opts *hclog.StandardLoggerOptions) io.Writer {
	if opts == nil {
		opts = &hclog.StandardLoggerOptions{}
	}
	reader := hclog.NewInterceptLogger(&hclog.LoggerOptions{Output: io.Discard, Level: hclog.Off})
	reader.RegisterSink(sink{l})
	return reader.StandardWriter(opts)
}

// sink gets the lines that hclog's writer has read.
type sink struct{ logger *logger }

// Accept implements [hclog.SinkAdapter].
func (s sink) Accept(_ string, level hclog.Level, msg string, args ...any) {
	s.logger.log(level, msg, args)
}

// attrs makes attributes of pairs. As in hclog, a value without a key has the
// key [hclog.MissingKey], unless it is a stack trace.
func attrs(args []any) []slog.Attr {
	all := make([]slog.Attr, 0, (len(args)+1)/2)
	for len(args) > 1 {
		all = append(all, slog.Any(keyText(args[0]), value(args[1])))
		args = args[2:]
	}
	if len(args) == 1 {
		key := hclog.MissingKey
		if _, ok := args[0].(hclog.CapturedStacktrace); ok {
			key = "stacktrace"
		}
		all = append(all, slog.Any(key, value(args[0])))
	}
	return all
}

func keyText(key any) string {
	if text, ok := key.(string); ok {
		return text
	}
	return fmt.Sprint(key)
}

// value shows hclog's own types as hclog does.
func value(v any) any {
	switch v := v.(type) {
	case hclog.Format:
		if len(v) == 0 {
			return ""
		}
		return fmt.Sprintf(fmt.Sprint(v[0]), v[1:]...)
	case hclog.Hex:
		return "0x" + strconv.FormatInt(int64(v), 16)
	case hclog.Octal:
		return "0" + strconv.FormatInt(int64(v), 8)
	case hclog.Binary:
		return "0b" + strconv.FormatInt(int64(v), 2)
	case hclog.Quote:
		return string(v)
	case hclog.CapturedStacktrace:
		return string(v)
	default:
		return v
	}
}
