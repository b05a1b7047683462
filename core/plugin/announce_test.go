package plugin

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The question that does not run the functions waits no longer than its caller. All
// questions get the same answer.
func TestAnnounceAgain(t *testing.T) {
	t.Parallel()
	begun, release := make(chan struct{}), make(chan struct{})
	cfg := &config{onReady: []func(context.Context) error{func(context.Context) error {
		close(begun)
		<-release
		return errors.New("no licence")
	}}}
	r := newReadiness(cfg, &runtime{stopping: make(chan struct{}), logger: slog.New(slog.DiscardHandler)})
	first := make(chan error, 1)
	go func() { first <- r.announce(t.Context()) }()
	<-begun
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.announce(gone); status.Code(err) != codes.Canceled {
		t.Errorf("a caller that has gone: %v", err)
	}
	close(release)
	want := status.Error(codes.FailedPrecondition, "plugin.OnReady: no licence").Error()
	if err := <-first; err == nil || err.Error() != want {
		t.Errorf("the first question: %v", err)
	}
	if err := r.announce(t.Context()); err == nil || err.Error() != want {
		t.Errorf("a later question: %v", err)
	}
}
