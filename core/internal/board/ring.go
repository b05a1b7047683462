package board

import "slices"

// A ring keeps the last lines of a log. The bounds let a hundred plugins have one, and an
// operator read what happened a moment ago. What happened earlier is in the host's own log.
const (
	maxLines     = 512
	maxLineBytes = 8 << 10
	maxRingBytes = 128 << 10
)

// entry is a line of a log. Its number is greater than that of each line that came before,
// in any row.
type entry struct {
	number uint64
	line   []byte // JSON, with its line end
}

// ring is the last lines of a row. The zero value has none.
type ring struct {
	entries []entry
	bytes   int    // of all entries
	next    uint64 // how many lines there ever were
}

// add adds a line, and drops the oldest ones that are too many.
func (r *ring) add(e entry) {
	r.entries = append(r.entries, e)
	r.bytes += len(e.line)
	r.next++
	drop := 0
	for len(r.entries)-drop > maxLines || r.bytes > maxRingBytes {
		r.bytes -= len(r.entries[drop].line)
		r.entries[drop] = entry{} // else the array holds the line
		drop++
	}
	r.entries = r.entries[drop:]
}

// after returns the lines from the given one on, counted from the first that ever was, and
// how many of them are no longer there.
func (r *ring) after(at uint64) (lines []entry, lost uint64) {
	first := r.next - uint64(len(r.entries))
	if at < first {
		return slices.Clone(r.entries), first - at
	}
	return slices.Clone(r.entries[at-first:]), 0
}
