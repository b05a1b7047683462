package hclogbridge

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/go-hclog"
)

// handler is a [slog.Handler] on an hclog.Logger.
type handler struct {
	logger hclog.Logger // has the attributes that were given to WithAttrs
	prefix string       // of keys: the names of groups, each with a dot
}

var _ slog.Handler = (*handler)(nil)

// NewHandler returns a handler that writes to logger, which must not be nil. A record
// is enabled if the logger's current level lets it through. Attributes become pairs;
// those of a group have its name and a dot before their keys. A record's own time is
// lost, because hclog takes the time itself.
//
// The handler is safe for concurrent use if logger is.
func NewHandler(logger hclog.Logger) slog.Handler { return &handler{logger: logger} }

// Enabled implements [slog.Handler].
func (h *handler) Enabled(_ context.Context, level slog.Level) bool {
	switch toHclog(level) {
	case hclog.Error:
		return h.logger.IsError()
	case hclog.Warn:
		return h.logger.IsWarn()
	case hclog.Info:
		return h.logger.IsInfo()
	case hclog.Debug:
		return h.logger.IsDebug()
	default:
		return h.logger.IsTrace()
	}
}

// Handle implements [slog.Handler].
func (h *handler) Handle(_ context.Context, record slog.Record) error {
	pairs := make([]any, 0, 2*record.NumAttrs())
	record.Attrs(func(a slog.Attr) bool {
		pairs = appendPairs(pairs, h.prefix, a)
		return true
	})
	h.logger.Log(toHclog(record.Level), oneLine(record.Message), pairs...)
	return nil
}

// WithAttrs implements [slog.Handler].
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	var pairs []any
	for _, a := range attrs {
		pairs = appendPairs(pairs, h.prefix, a)
	}
	if len(pairs) == 0 {
		return h
	}
	return &handler{logger: h.logger.With(pairs...), prefix: h.prefix}
}

// WithGroup implements [slog.Handler].
func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return &handler{logger: h.logger, prefix: h.prefix + name + "."}
}

// appendPairs adds an attribute by slog's rules: without empty attributes and groups,
// and with the members of a group without a name in its place.
func appendPairs(pairs []any, prefix string, a slog.Attr) []any {
	a.Value = a.Value.Resolve()
	if a.Equal(slog.Attr{}) {
		return pairs
	}
	if a.Value.Kind() != slog.KindGroup {
		return append(pairs, pairKey(prefix+a.Key), a.Value.Any())
	}
	if a.Key != "" {
		prefix += a.Key + "."
	}
	for _, inner := range a.Value.Group() {
		pairs = appendPairs(pairs, prefix, inner)
	}
	return pairs
}

// reserved are the keys of the parts of a record in hclog's JSON.
var reserved = [...]string{"@level", "@message", "@timestamp", "@module", "@caller"}

// pairKey returns the key of a pair. In hclog's JSON a pair with a [reserved] key would
// replace a part of the record, so it is renamed, as in core.
func pairKey(key string) string {
	for _, r := range reserved {
		if strings.EqualFold(r, key) {
			return "fields." + key
		}
	}
	return oneLine(key)
}

// oneLine quotes characters that would change how a line is read. hclog quotes
// values, but writes messages and keys unquoted.
func oneLine(s string) string {
	if utf8.ValidString(s) && strings.IndexFunc(s, isHidden) < 0 {
		return s
	}
	return strconv.Quote(s)
}

func isHidden(r rune) bool { return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) }
