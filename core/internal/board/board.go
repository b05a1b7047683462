// Package board is what a process tells about its plugins (host.WithStatus): a board with
// a row for each, which other processes of the same user read on a unix socket, over HTTP.
// docs/observability.md describes the socket and the format.
//
// A host begins with [Begin], for each start of a plugin. Package supervise makes a [Row]
// that lasts over the starts of one handle. A process has one board, and the socket is
// there while a row is in use.
package board

import (
	"slices"
	"sync"
)

// maxEnded bounds how many plugins stay on the board after their end, so that their last
// lines can be read. The plugins that live are not bounded: they cost far more than a row.
const maxEnded = 16

// process is the board of this process. It is state of the package, because the hosts of a
// process do not know each other, and readers want one socket for a process.
var process board

// board has the rows of a process.
type board struct {
	opening  sync.Mutex // held while the endpoint is opened or closed; guards endpoint
	endpoint *endpoint  // nil while no row is in use, or if it could not be opened

	mu        sync.Mutex // guards the fields below, and all rows
	rows      []*Row     // in the order in which they were added
	inUse     int        // rows that are in use
	numbers   int        // of rows
	sequence  uint64     // of lines
	followers int        // readers that wait for new lines
	news      chan struct{}
}

// enter makes a row one that is in use, and opens the endpoint for the first one. warn gets
// the reason if that fails: a plugin must not fail because nobody can watch it.
func (b *board) enter(r *Row, warn func(error)) {
	if err := b.use(r); err != nil {
		warn(err) // without a mutex, because a logger may do anything
	}
}

func (b *board) use(r *Row) (err error) {
	b.opening.Lock()
	defer b.opening.Unlock()
	b.mu.Lock()
	b.inUse++
	if r.number == 0 {
		b.numbers++
		r.number = b.numbers
		b.rows = append(b.rows, r)
		b.keep(r, r.early...)
		r.early = nil
	}
	b.mu.Unlock()
	if b.endpoint == nil {
		b.endpoint, err = open(b)
	}
	return err
}

// leave ends the use of a row. The last one closes the endpoint, and clears the board.
func (b *board) leave() {
	b.opening.Lock()
	defer b.opening.Unlock()
	b.mu.Lock()
	b.inUse--
	over := b.inUse == 0
	if !over {
		b.dropOldest()
	}
	b.mu.Unlock()
	if !over {
		return
	}
	if b.endpoint != nil {
		b.endpoint.close() // readers that follow still get the last lines of the rows
		b.endpoint = nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.rows {
		r.number = 0
	}
	b.rows = nil
}

// dropOldest removes the rows of plugins that have ended, down to maxEnded. The caller
// holds mu.
func (b *board) dropOldest() {
	ended := len(b.rows) - b.inUse
	b.rows = slices.DeleteFunc(b.rows, func(r *Row) bool {
		if ended <= maxEnded || r.used() {
			return false
		}
		ended--
		r.number = 0
		return true
	})
}

// again returns the row of a plugin that has ended, to continue it under the same name; nil
// if there is none. The caller holds mu.
func (b *board) again(name string) *Row {
	for _, r := range slices.Backward(b.rows) {
		if r.name == name && r.supervision == nil && !r.used() {
			return r
		}
	}
	return nil
}

// maxEarly bounds the lines of a row that is not on the board. A handle logs one or two
// events before each start. If its plugins do not have the option, nobody reads these lines.
const maxEarly = 4

// add adds a line to the log of a row, and wakes the readers that follow. A row that is not
// on the board keeps its last lines until it is.
func (b *board) add(r *Row, line []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.number > 0 {
		b.keep(r, line)
		return
	}
	if len(r.early) == maxEarly {
		r.early = slices.Delete(r.early, 0, 1)
	}
	r.early = append(r.early, line)
}

// keep keeps lines for readers. The caller holds mu.
func (b *board) keep(r *Row, lines ...[]byte) {
	for _, line := range lines {
		b.sequence++
		r.lines.add(entry{b.sequence, line})
	}
	if b.followers > 0 && len(lines) > 0 {
		close(b.news)
		b.news = make(chan struct{})
	}
}

// follow registers a reader that waits for new lines, until it calls the function.
func (b *board) follow() (unfollow func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.followers++
	if b.news == nil {
		b.news = make(chan struct{})
	}
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.followers--
	}
}

// position is how far a reader of lines is: the next line of each row.
type position map[*Row]uint64

// read returns the lines after a position, in their order, and moves the position. missed
// is how many of them the rows have no more. more is closed when there are new lines, if
// the reader follows.
func (b *board) read(at position) (lines []entry, missed uint64, more <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for r := range at {
		if r.number == 0 {
			delete(at, r)
		}
	}
	for _, r := range b.rows {
		seen, known := at[r]
		kept, lost := r.lines.after(seen)
		if known { // else the reader wants what there is
			missed += lost
		}
		lines = append(lines, kept...)
		at[r] = r.lines.next
	}
	slices.SortFunc(lines, func(x, y entry) int { return int(x.number) - int(y.number) }) //nolint:gosec // they are near each other
	return lines, missed, b.news
}

// snapshot returns what the board tells now.
func (b *board) snapshot() []Plugin {
	b.mu.Lock()
	plugins := make([]Plugin, 0, len(b.rows))
	supervisions := make([]func() Supervision, 0, len(b.rows))
	for _, r := range b.rows {
		plugins = append(plugins, r.snapshot())
		supervisions = append(supervisions, r.supervision)
	}
	b.mu.Unlock()
	for i, supervision := range supervisions {
		if supervision != nil {
			plugins[i].supervise(supervision())
		}
	}
	return plugins
}
