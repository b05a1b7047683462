package differential

import "regexp"

// difference is a way in which two columns may differ. docs/wire.md lists each with its
// reason.
type difference struct {
	columns *regexp.Regexp // of the columns that differ from h2
	text    *regexp.Regexp // in a line of either
	is      string         // what both become
}

// differences have an entry for each that docs/wire.md lists, and for what grpc-go itself
// does in one of several ways.
var differences = []difference{
	// At a deadline each side ends the call, and either can be first.
	{all, regexp.MustCompile(`stream terminated by RST_STREAM with error code: CANCEL`), "context deadline exceeded"},

	// The errors of Plugwire say which option raises a limit.
	{plain, regexp.MustCompile(`; raise the limit on both sides with host\.WithMaxMessageSize and plugin\.WithMaxMessageSize`), ""},
	{plain, regexp.MustCompile(`grpc: (received )?message after decompression larger than max (\(100001 vs\. )?100000\)?`), "too large after decompression"},
	// The error of a call that was never sent says so.
	{plain, regexp.MustCompile(` detail \*errdetails\.ErrorInfo reason:"NOT_SENT" domain:"plugwire" \(not begun\)`), ""},
	// The text names the security of the connection.
	{all, regexp.MustCompile(`credentials type .* does not implement the AuthorityValidator`), "credentials do not implement the AuthorityValidator"},
}

var (
	all   = regexp.MustCompile(``)
	plain = regexp.MustCompile(`^` + plainColumn + `$`)
)

// plainLacks matches programs that grpc-go cannot run: a panic would end the process, and
// the call of a goroutine that ends would not end. It also takes an authority on a
// connection without security, and Plugwire never does.
var plainLacks = regexp.MustCompile(`(?m)^\d+ (s (panic|goexit)|c .* authority=)`)

// expires matches programs in which a deadline ends a call.
var expires = regexp.MustCompile(`(?m)^\d+ c expire`)

// ended is how a context of a handler ends at a deadline: by the handler's own clock, or
// because the caller's clock was first and the caller cancelled the call.
var ended = regexp.MustCompile(`context (deadline exceeded|canceled)|(Canceled|DeadlineExceeded) "`)

// comparable returns a trace without the differences between h2 and a column.
func comparable(p program, column string, trace []string) []string {
	expired := expires.MatchString(p.String())
	out := make([]string, len(trace))
	for i, line := range trace {
		for _, d := range differences {
			if d.columns.MatchString(column) {
				line = d.text.ReplaceAllString(line, d.is)
			}
		}
		if expired {
			line = ended.ReplaceAllString(line, "<end of the context>")
		}
		out[i] = line
	}
	return out
}
