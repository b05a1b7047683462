package testrun

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// progressPause is the time between two updates of the line at the bottom of a
// terminal.
const progressPause = time.Second

// A screen prints lines. On a terminal it keeps a status line below them. It is
// safe for concurrent use.
type screen struct {
	out   io.Writer
	width int // width of the terminal, in columns; 0 if the output is not a terminal

	mu     sync.Mutex
	status string // text of the last line
}

// put writes whole lines above the status.
func (s *screen) put(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.write(text, s.status)
}

// show replaces the status. Only a terminal has a status.
func (s *screen) show(status string) {
	if s.width == 0 {
		return
	}
	if cells := []rune(status); len(cells) >= s.width {
		status = string(cells[:s.width-1])
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.write("", status)
}

// write is called with mu held. Its error is ignored, because there is no other
// place to report it.
func (s *screen) write(text, status string) {
	if s.width > 0 {
		text = "\r\x1b[K" + text + status
	}
	s.status = status
	_, _ = io.WriteString(s.out, text)
}

// Write makes the screen the standard error of a command.
func (s *screen) Write(p []byte) (int, error) {
	s.put(string(p))
	return len(p), nil
}

// while keeps the status up to date until the returned function is called,
// which also clears it.
func (s *screen) while(status func() string) (stop func()) {
	if s.width == 0 {
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(progressPause)
		defer tick.Stop()
		for {
			s.show(status())
			select {
			case <-tick.C:
			case <-done:
				return
			}
		}
	}()
	return func() {
		close(done)
		<-ended
		s.show("")
	}
}

// running describes packages by how long each of them runs, the longest first.
func running(since map[string]time.Time, now time.Time) string {
	names := make([]string, 0, len(since))
	for name := range since {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if c := since[a].Compare(since[b]); c != 0 {
			return c
		}
		return strings.Compare(a, b)
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%s %.0fs", name, now.Sub(since[name]).Seconds())
	}
	return strings.Join(names, ", ")
}
