package logs

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/rs/zerolog"
)

// form has the keys and names with which a handler writes the parts of a record
// that are not attributes.
type form struct {
	level, time, message string // keys of these parts
	timeLayout           string
	levelText            func(slog.Level) string
	messageText          func(string) string
}

// The keys are written out here, because zerolog's are package variables: this
// program may have changed them, and the reader in the other process has not.
var (
	zerologForm = form{
		level: "level", time: "time", message: "message",
		timeLayout: time.RFC3339Nano, levelText: levelText,
		messageText: func(s string) string { return s },
	}
	hclogForm = form{
		level: "@level", time: "@timestamp", message: "@message",
		timeLayout: "2006-01-02T15:04:05.000000Z07:00", levelText: LevelName,
		messageText: OneLine, // hclog does not quote messages, wherever the host's log goes
	}
)

// handler writes slog's records through zerolog. zerolog's own handler flattens
// groups, puts attributes into groups opened after them, and writes time in whole
// seconds unless a package variable says otherwise.
type handler struct {
	logger zerolog.Logger
	form   form
	level  slog.Level
	head   []slog.Attr // which plugin the records are about
	scope  []scope     // outermost first
}

// The attributes by which a host tells plugins apart. The host adds them to the
// logger of each plugin, so that they precede everything from the plugin in a
// record.
const (
	// PluginKey is the plugin's name.
	PluginKey = "plugin"
	// ProcessKey is the number of the plugin's process.
	ProcessKey = "pid"
)

// scope is the result of one call of WithGroup or WithAttrs.
type scope struct {
	group string // empty for attributes
	attrs []slog.Attr
}

var _ slog.Handler = (*handler)(nil)

func (h *handler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.level
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(h.scope) > 0 {
		return h.within(scope{attrs: attrs})
	}
	inner := *h
	inner.head = slices.Clip(h.head)
	var rest []slog.Attr
	for _, a := range attrs {
		if (a.Key == PluginKey || a.Key == ProcessKey) && !inner.inHead(a.Key) {
			inner.head = append(inner.head, a)
		} else {
			rest = append(rest, a)
		}
	}
	if len(rest) == 0 {
		return &inner
	}
	return inner.within(scope{attrs: rest})
}

func (h *handler) inHead(key string) bool {
	return slices.ContainsFunc(h.head, func(a slog.Attr) bool { return a.Key == key })
}

func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return h.within(scope{group: name})
}

func (h *handler) within(s scope) *handler {
	inner := *h
	inner.scope = append(slices.Clip(h.scope), s)
	return &inner
}

func (h *handler) Handle(_ context.Context, record slog.Record) error {
	event := h.logger.Log().Str(h.form.level, h.form.levelText(record.Level))
	if !record.Time.IsZero() {
		event.Str(h.form.time, record.Time.Format(h.form.timeLayout))
	}
	for _, a := range h.head {
		add(event, a)
	}
	event.Str(h.form.message, h.form.messageText(record.Message))
	for _, a := range h.attrs(record) {
		h.addRoot(event, a)
	}
	event.Send()
	return nil
}

// attrs returns the record's attributes within the handler's.
func (h *handler) attrs(record slog.Record) []slog.Attr {
	attrs := make([]slog.Attr, 0, record.NumAttrs())
	record.Attrs(func(a slog.Attr) bool {
		attrs = append(attrs, a)
		return true
	})
	for _, s := range slices.Backward(h.scope) {
		if s.group != "" {
			attrs = []slog.Attr{slog.GroupAttrs(s.group, attrs...)}
		} else {
			attrs = slices.Concat(s.attrs, attrs)
		}
	}
	return attrs
}

// addRoot adds an attribute of the outermost level. It renames an attribute
// with the key of a part of the record, because most readers would take it for
// that part.
func (h *handler) addRoot(event *zerolog.Event, a slog.Attr) {
	switch {
	case a.Key == h.form.level, a.Key == h.form.time, a.Key == h.form.message, h.inHead(a.Key):
		a.Key = renamed + a.Key
	case a.Key == "":
		if a.Value = a.Value.Resolve(); a.Value.Kind() == slog.KindGroup {
			for _, inner := range a.Value.Group() {
				h.addRoot(event, inner)
			}
			return
		}
	}
	add(event, a)
}

// add adds an attribute by slog's rules: without empty attributes and groups, and
// with the members of a group without a name in its place.
func add(event *zerolog.Event, a slog.Attr) {
	a.Value = a.Value.Resolve()
	if a.Equal(slog.Attr{}) {
		return
	}
	switch v := a.Value; v.Kind() {
	case slog.KindString:
		event.Str(a.Key, v.String())
	case slog.KindInt64:
		event.Int64(a.Key, v.Int64())
	case slog.KindUint64:
		event.Uint64(a.Key, v.Uint64())
	case slog.KindFloat64:
		event.Float64(a.Key, v.Float64())
	case slog.KindBool:
		event.Bool(a.Key, v.Bool())
	case slog.KindDuration:
		event.Str(a.Key, v.Duration().String())
	case slog.KindTime:
		event.Str(a.Key, v.Time().Format(time.RFC3339Nano))
	case slog.KindGroup:
		addGroup(event, a.Key, v.Group())
	default:
		addAny(event, a.Key, v.Any())
	}
}

func addGroup(event *zerolog.Event, key string, attrs []slog.Attr) {
	if key == "" {
		for _, a := range attrs {
			add(event, a)
		}
		return
	}
	if len(attrs) == 0 {
		return
	}
	inner := event.CreateDict()
	for _, a := range attrs {
		add(inner, a)
	}
	event.Dict(key, inner)
}

func addAny(event *zerolog.Event, key string, value any) {
	_, marshals := value.(json.Marshaler)
	if err, ok := value.(error); ok && !marshals {
		// Sprint, unlike Error, survives a nil pointer in an error.
		event.Str(key, fmt.Sprint(err))
		return
	}
	text, err := json.Marshal(value)
	if err != nil {
		event.Str(key, fmt.Sprintf("%+v", value))
		return
	}
	event.RawJSON(key, text)
}
