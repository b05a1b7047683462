package differential

import (
	"regexp"
	"strconv"
)

// difference is a way in which two columns may differ. docs/wire.md lists each with its
// reason.
type difference struct {
	columns *regexp.Regexp // of the columns that differ from h2
	text    *regexp.Regexp // in a line of either
	is      string         // what both become
	// programs are those that it concerns; nil means all.
	programs *regexp.Regexp
}

// differences have an entry for each that docs/wire.md lists, and for what grpc-go itself
// does in one of several ways.
var differences = []difference{
	// At a deadline each side ends the call, and either can be first.
	{all, regexp.MustCompile(`stream terminated by RST_STREAM with error code: CANCEL`), "context deadline exceeded", nil},

	// The errors of Plugwire say which option raises a limit.
	{plain, regexp.MustCompile(`; raise the limit on both sides with host\.WithMaxMessageSize and plugin\.WithMaxMessageSize`), "", nil},
	{plain, regexp.MustCompile(`grpc: (received )?message after decompression larger than max (\(100001 vs\. )?100000\)?`), "too large after decompression", nil},
	// Nothing is compressed on pw/1, and no grpc-go sends its name and version.
	{pw, regexp.MustCompile(` ?user-agent=\["grpc-go/[^"]*"\]`), "", nil},
	{pw, regexp.MustCompile(` ?grpc-accept-encoding=\["gzip"\]`), "", nil},
	{pw, regexp.MustCompile(`compressors \["gzip"\] ok|compressors \[\] Unknown "failed to fetch the stream from the given context [^"]*" \(not a status\)`), "compressors", nil},
	{pw, regexp.MustCompile(` ?grpc-status-details-bin=\["([^"\\]|\\.)*"\]`), "", nil},
	{pw, regexp.MustCompile(`\{ `), "{", nil},
	// The text of pw/1 has what Plugwire adds from the beginning, and that of h2 adds it later.
	{pw, regexp.MustCompile(`; raise the limit on both sides with host\.WithMaxMessageSize and plugin\.WithMaxMessageSize`), "", nil},
	// pw/1 sends nothing of a message above the caller's own limit.
	{pw, regexp.MustCompile(`(caller's stats: end: ResourceExhausted "trying to send message larger than max[^"]*", trailer) (nil|\{\})`), "$1 nothing", nil},
	// h2 tells stats handlers of reserved fields that it does not send, and pw/1 does not of
	// the handler's. It tells them of no error if the handler's goroutine has ended, and of a
	// cancellation if the caller has got one answer too many.
	{pw, regexp.MustCompile(`(out (?:header|trailer): .*)\{content-type=\["text/plain"\] (?:grpc-encoding=\["gzip"\] )?grpc-message=\["x"\] grpc-status=\["3"\] `), "$1{", nil},
	{pw, regexp.MustCompile(`(handler's stats: end:) (ok|Internal "the handler of [^"]* called runtime\.Goexit[^"]*")`), "$1 ok", nil},
	{pw, regexp.MustCompile(`(caller's stats: end:) (Canceled "context canceled"|Internal "cardinality violation: expected <EOF> for[^"]*")`), "$1 left", leaves},
	{pw, regexp.MustCompile(` user-agent=\["me"\]`), "", nil},
	// The error of a call that was never sent says so.
	{plain, regexp.MustCompile(` detail \*errdetails\.ErrorInfo reason:"NOT_SENT" domain:"plugwire" \(not begun\)`), "", nil},
	// The text names the security of the connection.
	{all, regexp.MustCompile(`credentials type .* does not implement the AuthorityValidator`), "credentials do not implement the AuthorityValidator", nil},
}

var (
	all   = regexp.MustCompile(``)
	plain = regexp.MustCompile(`^` + plainColumn + `$`)
	pw    = regexp.MustCompile(`^pw/1 `)

	leaves = regexp.MustCompile(` leaves\b`)
)

// plainLacks matches programs that grpc-go cannot run: a panic would end the process, and
// the call of a goroutine that ends would not end. It also takes an authority on a
// connection without security, and Plugwire never does.
var plainLacks = regexp.MustCompile(`(?m)^\d+ (s (panic|goexit)|c .* authority=)`)

// pwLacks matches programs that pw/1 cannot run as h2 does. It compresses nothing, and the
// names of HTTP's fields mean nothing to it. It sends a handler's names in upper case in lower
// case. All numbers are codes, and a message that is not UTF-8 costs a status no details.
var pwLacks = regexp.MustCompile(`(?m)( gzip| compressor=|s compress |^\d+ s .* md=\S*[A-Z]\S*:| md=(host|connection):|code=4294967295|msg=%FF\S* detail=)`)

// lacks reports whether a column cannot run a program.
func lacks(column string, p program) bool {
	return column == plainColumn && plainLacks.MatchString(p.String()) || pw.MatchString(column) && pwLacks.MatchString(p.String())
}

// unsentHeader is an event that pw/1 does not have for a call that it never sends.
var unsentHeader = regexp.MustCompile(`^(\d+) caller's stats: out header`)

// sentTrailer is an event that a server does not have if it learns first that the caller has
// left. The caller leaves when it has the message, which can be before or after the trailer.
var sentTrailer = regexp.MustCompile(`^(\d+) handler's stats: out trailer`)

// expires matches programs in which a deadline ends a call.
var expires = regexp.MustCompile(`(?m)^\d+ c expire`)

// ended is how a context of a handler ends at a deadline: by the handler's own clock, or
// because the caller's clock was first and the caller cancelled the call.
var ended = regexp.MustCompile(`context (deadline exceeded|canceled)|(Canceled|DeadlineExceeded) "`)

// normalized returns a trace without the differences between h2 and a column.
func normalized(p program, column string, trace []string) []string {
	text := p.String()
	expired := expires.MatchString(text)
	var out []string
	for _, line := range trace {
		if m := unsentHeader.FindStringSubmatch(line); m != nil && pw.MatchString(column) && hasWord(p, m[1], "unsent") {
			continue
		}
		if m := sentTrailer.FindStringSubmatch(line); m != nil && hasWord(p, m[1], "leaves") {
			continue
		}
		for _, d := range differences {
			if d.columns.MatchString(column) && (d.programs == nil || d.programs.MatchString(text)) {
				line = d.text.ReplaceAllString(line, d.is)
			}
		}
		if expired {
			line = ended.ReplaceAllString(line, "<end of the context>")
		}
		out = append(out, line)
	}
	return out
}

// hasWord reports whether a step of a call has a word.
func hasWord(p program, call, word string) bool {
	for _, s := range p {
		if strconv.Itoa(s.call) == call && s.has(word) {
			return true
		}
	}
	return false
}
