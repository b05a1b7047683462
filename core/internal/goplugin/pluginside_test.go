package goplugin

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/plugwire/plugwire/core/internal/goplugin/messages"
)

// TestAbandonUnread abandons output while the host holds standard error open and reads
// nothing.
func TestAbandonUnread(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	before := os.Stderr
	os.Stderr = w
	p := NewPluginSide()
	p.output.Put(messages.Stdout, make([]byte, 512<<10)) // more than a pipe holds
	abandoned := make(chan struct{})
	go func() {
		defer close(abandoned)
		p.Abandon()
	}()
	select {
	case <-abandoned:
	case <-time.After(time.Minute):
		t.Error("Abandon waits for a reader")
	}
	if err := errors.Join(r.Close(), w.Close()); err != nil { // ends the writing
		t.Error(err)
	}
	<-abandoned
	os.Stderr = before
}
