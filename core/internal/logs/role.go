package logs

// role is a part of a record that has a place of its own.
type role uint8

const (
	noRole role = iota
	levelRole
	timeRole
	messageRole
	// textRole is of a key that means the message in a line that has a level and no
	// key of messageRole.
	textRole
)

// roleOf knows the keys of loggers. A value that does not fit is a field like any
// other.
func roleOf(key string) role {
	switch key {
	case "level", "@level", "Level", // nearly all; hclog; Serilog and NLog
		"severity", "Severity", "levelname", "lvl", "L", // Google Cloud; Python; log15; zap in development
		"@l", "LogLevel", "logLevel", "log.level", // Serilog, compact; .NET; Elastic's schema
		"level_name", "log_level", "loglevel", // Monolog; others
		"SeverityText", "severityText", "severity_text", // OpenTelemetry
		"SeverityNumber", "severityNumber", "severity_number":
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

// renamed is put before the key of a field that would stand beside a part of the
// record with the same key.
const renamed = "fields."

// isReserved reports whether a handler writes a part of a record under key: slog's
// handlers, [Default] and [Hclog], or the host, which puts the plugin's name and
// process into every record. A reader takes one of two such keys, mostly the last,
// so that a plugin could give its line another level, or another plugin's name.
func isReserved(key string) bool {
	switch key {
	case "level", "time", "msg", "message", "@level", "@timestamp", "@message", PluginKey, ProcessKey:
		return true
	default:
		return false
	}
}

// fieldKey returns the key of a field of a record.
func fieldKey(key string) string {
	if key = printable(key); isReserved(key) {
		return renamed + key
	}
	return key
}
