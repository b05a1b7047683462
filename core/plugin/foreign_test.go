package plugin

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/plugwire/plugwire/core/internal/goplugin/messages"
)

// TestAbandonUnread lets a process end whose host holds its standard error and reads
// nothing.
func TestAbandonUnread(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	before := os.Stderr
	os.Stderr = w
	f := newForeign()
	f.output.Put(messages.Stdout, make([]byte, 512<<10)) // more than a pipe holds
	abandoned := make(chan struct{})
	go func() {
		defer close(abandoned)
		f.abandon()
	}()
	select {
	case <-abandoned:
	case <-time.After(hang):
		t.Error("it waits for a reader")
	}
	if err := errors.Join(r.Close(), w.Close()); err != nil { // ends the writing
		t.Error(err)
	}
	<-abandoned
	os.Stderr = before
}
