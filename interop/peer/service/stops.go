package service

import "sync"

// Stops has the functions that stop what a plugin serves, by the id of the
// broker.
type Stops struct {
	mu    sync.Mutex // guards stops
	stops map[uint32]func()
}

// Add adds the function that stops what is served under an id.
func (s *Stops) Add(id uint32, stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stops == nil {
		s.stops = make(map[uint32]func())
	}
	s.stops[id] = stop
}

// StopServing implements [Handler].
func (s *Stops) StopServing(id uint32) {
	s.mu.Lock()
	stop := s.stops[id]
	delete(s.stops, id)
	s.mu.Unlock()
	if stop != nil {
		stop()
	}
}
