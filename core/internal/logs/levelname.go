package logs

import (
	"log/slog"
	"strconv"
	"strings"
)

// longestLevel is the length of the longest name of a level, schwerwiegend.
const longestLevel = 13

// writtenLevel reads a level at a place where only a level can be: a name in any
// case, and after it slog's distance, for example "INFO+2" or "trace-4".
func writtenLevel(s string) (slog.Level, bool) { return distantLevel(strings.TrimSpace(s), levelWord) }

// distantLevel reads a name that the function named knows, and after it slog's
// distance.
func distantLevel(name string, named func(string) (slog.Level, bool)) (slog.Level, bool) {
	offset := int64(0)
	if i := strings.IndexAny(name, "+-"); i > 0 {
		var err error
		// Eight bits are more than any logger uses and cannot overflow a Level.
		if offset, err = strconv.ParseInt(name[i:], 10, 8); err != nil {
			return 0, false
		}
		name = name[:i]
	}
	level, ok := named(name)
	return level + slog.Level(offset), ok
}

// levelNamed knows the names, in any case, that mean a level at any place: those of
// zerolog, slog, zap, hclog, logrus, syslog, Python and Java. Java translates its names
// into German, and into languages without Latin letters.
func levelNamed(name string) (slog.Level, bool) {
	var lower [longestLevel]byte
	if len(name) > len(lower) {
		return 0, false
	}
	switch string(appendLower(lower[:0], name)) {
	case "trace":
		return LevelTrace, true
	case "debug":
		return slog.LevelDebug, true
	case "info":
		return slog.LevelInfo, true
	case "notice":
		return levelNotice, true
	case "warn", "warning", "warnung":
		return slog.LevelWarn, true
	case "error", "err", "dpanic", "severe", "schwerwiegend":
		return slog.LevelError, true
	case "fatal", "panic", "critical", "crit", "alert", "emerg", "emergency":
		return LevelFatal, true
	default:
		return 0, false
	}
}

// levelShort knows, in any case, the names that loggers have cut to three or four
// letters: zerolog, Serilog, .NET, logrus, log15 and charm.
func levelShort(name string) (slog.Level, bool) {
	var lower [4]byte
	if len(name) > len(lower) {
		return 0, false
	}
	switch string(appendLower(lower[:0], name)) {
	case "trc", "trce", "trac", "vrb":
		return LevelTrace, true
	case "dbg", "dbug", "debu":
		return slog.LevelDebug, true
	case "inf":
		return slog.LevelInfo, true
	case "wrn":
		return slog.LevelWarn, true
	case "eror", "erro":
		return slog.LevelError, true
	case "ftl", "fata", "pnc", "pani":
		return LevelFatal, true
	default:
		return 0, false
	}
}

// levelWord also knows the names, in any case, that mean a level only where nothing
// else can be: "HTTP: listening" has no level, {"level":"http"} has one.
func levelWord(name string) (slog.Level, bool) {
	if level, ok := levelNamed(name); ok {
		return level, true
	}
	if level, ok := levelShort(name); ok {
		return level, true
	}
	var lower [longestLevel]byte
	if len(name) > len(lower) {
		return 0, false
	}
	switch string(appendLower(lower[:0], name)) {
	case "verbose":
		if name == "verbose" {
			return slog.LevelDebug, true // winston's, one above its debug
		}
		return LevelTrace, true // Serilog's, its lowest
	case "silly", "finer", "finest":
		return LevelTrace, true
	case "fine", "config", "http":
		return slog.LevelDebug, true
	case "information", "default":
		return slog.LevelInfo, true
	case "success":
		return levelNotice, true
	case "fail":
		return slog.LevelError, true
	default:
		return 0, false
	}
}

func appendLower(b []byte, s string) []byte {
	for i := range len(s) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	return b
}

// levelLetter reads the first letter of a line of glog or a similar logger.
func levelLetter(c byte) (slog.Level, bool) {
	switch c {
	case 'D':
		return slog.LevelDebug, true
	case 'I':
		return slog.LevelInfo, true
	case 'W':
		return slog.LevelWarn, true
	case 'E':
		return slog.LevelError, true
	case 'F', 'A': // fatal, and Ruby's "any"
		return LevelFatal, true
	default:
		return 0, false
	}
}

// These are the numbers of levels. pino and bunyan use 10, trace, to 60, fatal, in
// steps of ten. Python uses 10, debug, to 50, critical. Google Cloud's severities
// are 100, debug, to 800, emergency. OpenTelemetry, the source of slog's numbers,
// uses 1, trace, to 24, fatal.
const (
	pinoFirst, pinoInfo, pinoStep, pinoLast            = 10, 30, 10, 60
	pythonFirst, pythonInfo, pythonLast                = 10, 20, 50
	googleFirst, googleStep, googleLast                = 100, 100, 800
	openTelemetryInfo, openTelemetryLast               = 9, 24
	syslogLast                                         = 7
	levelStep                               slog.Level = slog.LevelWarn - slog.LevelInfo
)

// numericLevel reads the number of a level under the key. The argument syslog says
// that the line's levels are syslog's.
func numericLevel(key, number string, syslog bool) (slog.Level, bool) {
	n, err := strconv.Atoi(number)
	switch {
	case err != nil:
		return 0, false
	case key == "severity":
		if n%googleStep != 0 || n < googleFirst || n > googleLast {
			return 0, false
		}
		return [...]slog.Level{
			slog.LevelDebug, slog.LevelInfo, levelNotice, slog.LevelWarn, slog.LevelError, LevelFatal, LevelFatal, LevelFatal,
		}[n/googleStep-1], true
	case key == "SeverityNumber" || key == "severityNumber" || key == "severity_number":
		return slog.Level(n - openTelemetryInfo), 1 <= n && n <= openTelemetryLast
	case key == "levelno":
		return slog.Level(n-pythonInfo) * levelStep / pinoStep, pythonFirst <= n && n <= pythonLast
	case key != "level":
		return 0, false
	case syslog && 0 <= n && n <= syslogLast:
		return syslogLevel(n), true
	default:
		return slog.Level(n-pinoInfo) * levelStep / pinoStep, pinoFirst <= n && n <= pinoLast
	}
}

// syslogLevel returns the level of a priority of syslog, facility included.
func syslogLevel(priority int) slog.Level {
	return [...]slog.Level{
		LevelFatal, LevelFatal, LevelFatal, slog.LevelError, slog.LevelWarn, levelNotice, slog.LevelInfo, slog.LevelDebug,
	}[priority&syslogLast]
}
