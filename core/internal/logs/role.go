package logs

import "strings"

// role is a part of a record that has a place of its own.
type role uint8

const (
	noRole role = iota
	levelRole
	timeRole
	messageRole
	// textRole is the role of a key that means the message only if the line has a
	// level and no key of messageRole.
	textRole
)

// roleOf returns the role that a key has in well-known loggers. If the value does not
// fit the role, the field is an ordinary one.
func roleOf(key string) role {
	switch key {
	case "level", "@level", "Level", // nearly all; hclog; Serilog and NLog
		"severity", "Severity", "levelname", "lvl", "L", // Google Cloud; Python; log15; zap in development
		"@l", "LogLevel", "logLevel", "log.level", // Serilog, compact; .NET; Elastic's schema
		"level_name", "log_level", "loglevel", // Monolog; others
		"SeverityText", "severityText", "severity_text", // OpenTelemetry
		"SeverityNumber", "severityNumber", "severity_number",
		"levelno": // the number of Python's level
		return levelRole
	case "time", "ts", "timestamp", "@timestamp", "Timestamp",
		"asctime", "datetime", "t", "T", "@t", // Python; Monolog; log15; zap; Serilog
		"instant", "timeMillis": // log4j
		return timeRole
	case "message", "msg", "@message", "@m", "@mt":
		return messageRole
	case "event", "M", "Message", // structlog; zap in development; .NET
		"RenderedMessage", "MessageTemplate", // Serilog
		"short_message", "Body", "body": // GELF; OpenTelemetry
		return textRole
	default:
		return noRole
	}
}

// renamed is the prefix for the key of a field if a part of the record has the
// same key.
const renamed = "fields."

// reserved are the keys under which slog's handlers, [Default] and [Hclog] write the
// parts of a record, and under which the host writes the plugin's name and process.
var reserved = [...]string{"level", "time", "msg", "message", "@level", "@timestamp", "@message", PluginKey, ProcessKey}

// isReserved reports whether a reader may take key for one of the [reserved] ones, in
// any case, as encoding/json does. A reader uses one of two such keys, mostly the
// last, so a plugin could give its line another level, or another plugin's name.
func isReserved(key string) bool {
	for _, r := range reserved {
		if strings.EqualFold(r, key) {
			return true
		}
	}
	return false
}

// fieldKey returns the key under which a record has the field.
func fieldKey(key string) string {
	if key = printable(key); isReserved(key) {
		return renamed + key
	}
	return key
}
