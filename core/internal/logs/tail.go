package logs

import "strings"

// Tail keeps enough for the end of a stack trace or a usage message, and little
// enough for an error message.
const (
	maxTailLines = 20
	maxTailBytes = 8 << 10
)

// tail keeps the end of a stream. It is not safe for concurrent use.
type tail struct {
	buf   []byte // the last bytes, at most 2*maxTailBytes
	total int64  // bytes ever written
}

func (t *tail) write(chunk []byte) {
	t.total += int64(len(chunk))
	chunk = lastBytes(chunk)
	if len(t.buf)+len(chunk) > 2*maxTailBytes {
		// Moving the end to the front only rarely keeps writing cheap.
		t.buf = append(t.buf[:0], lastBytes(t.buf)...)
	}
	t.buf = append(t.buf, chunk...)
}

// String returns the last lines without the final line end, each safe to print.
// A line whose beginning is gone is left out, unless there is no other.
func (t *tail) String() string {
	text := strings.ReplaceAll(string(lastBytes(t.buf)), "\r\n", "\n")
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if t.total > maxTailBytes && len(lines) > 1 {
		lines = lines[1:]
	}
	if extra := len(lines) - maxTailLines; extra > 0 {
		lines = lines[extra:]
	}
	return printable(strings.Join(lines, "\n"))
}

func lastBytes(b []byte) []byte {
	return b[max(0, len(b)-maxTailBytes):]
}
