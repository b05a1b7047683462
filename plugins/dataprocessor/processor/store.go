package processor

import (
	"iter"
	"sync"
	"time"
)

// The bounds of the store of results. They keep a plugin that runs for months
// small and a scan for a rare text short.
const (
	maxEntries = 10_000
	maxBytes   = 64 << 20 // of text; an entry's overhead is small beside it
)

// A stored is one result.
type stored struct {
	id        uint64
	data      string
	timestamp int64 // seconds since the Unix epoch
}

// A store keeps the newest results within its bounds. It is safe for
// concurrent use.
type store struct {
	maxEntries int
	maxBytes   int

	mu      sync.Mutex // guards the fields below
	entries []stored   // oldest first; ids are consecutive
	bytes   int        // of data in entries
	lastID  uint64
}

// add stores a result, of at most maxBytes, and drops the oldest ones until the
// bounds are kept.
func (s *store) add(data string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	drop, size := 0, s.bytes+len(data)
	for size > s.maxBytes || len(s.entries)-drop >= s.maxEntries {
		size -= len(s.entries[drop].data)
		drop++
	}
	clear(s.entries[:drop]) // lets go of the texts; append reuses or frees the rest
	s.lastID++
	s.entries = append(s.entries[drop:], stored{s.lastID, data, now.Unix()})
	s.bytes = size
}

// newestFirst yields the results that were stored before the iteration began,
// newest first. The store can be used meanwhile: results that it drops before
// their turn are left out.
func (s *store) newestFirst() iter.Seq[stored] {
	return func(yield func(stored) bool) {
		s.mu.Lock()
		id := s.lastID
		s.mu.Unlock()
		for ; ; id-- {
			r, ok := s.get(id)
			if !ok || !yield(r) {
				return
			}
		}
	}
}

// get returns the result with that id, or false once it has been dropped.
func (s *store) get(id uint64) (stored, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.entries) == 0 || id < s.entries[0].id {
		return stored{}, false
	}
	return s.entries[id-s.entries[0].id], true
}
