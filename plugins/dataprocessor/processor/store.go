package processor

import (
	"iter"
	"sync"
	"time"
)

// These bound the store of results. They keep the plugin small even if it runs
// for months, and a scan for a rare text short.
const (
	maxEntries = 10_000
	maxBytes   = 64 << 20 // size of the texts; the overhead of entries is small beside it
)

// A storedText is one result.
type storedText struct {
	id        uint64
	data      string
	timestamp int64 // seconds since the Unix epoch
}

// A store keeps the newest results within its bounds. It is safe for
// concurrent use.
type store struct {
	maxEntries int
	maxBytes   int

	mu      sync.Mutex   // guards the fields below
	entries []storedText // oldest first; ids are consecutive
	bytes   int          // of data in entries
	lastID  uint64
}

// add stores a result, of at most maxBytes, and drops the oldest results until
// the bounds are kept.
func (s *store) add(data string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	drop, size := 0, s.bytes+len(data)
	for size > s.maxBytes || len(s.entries)-drop >= s.maxEntries {
		size -= len(s.entries[drop].data)
		drop++
	}
	clear(s.entries[:drop]) // releases the texts; append reuses or frees the rest
	s.lastID++
	s.entries = append(s.entries[drop:], storedText{s.lastID, data, now.Unix()})
	s.bytes = size
}

// newestFirst yields the results that were stored before the iteration began,
// newest first. The store can be used meanwhile: results that it drops before
// the iteration reaches them are left out.
func (s *store) newestFirst() iter.Seq[storedText] {
	return func(yield func(storedText) bool) {
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
func (s *store) get(id uint64) (storedText, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.entries) == 0 || id < s.entries[0].id {
		return storedText{}, false
	}
	return s.entries[id-s.entries[0].id], true
}
