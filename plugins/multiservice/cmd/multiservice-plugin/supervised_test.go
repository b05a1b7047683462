package main

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/supervise"
	"github.com/plugwire/plugwire/plugins/multiservice/multi"
	"github.com/plugwire/plugwire/transport/unix"
)

// TestSoakSupervisedWriters kills a supervised plugin again and again while callers store.
// No call fails, because the method is idempotent, and every acknowledged write is there.
func TestSoakSupervisedWriters(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	times := kills
	if os.Getenv("PLUGWIRE_SOAK") == "full" {
		times = 500
	}
	h, err := supervise.Start(t.Context(),
		func(ctx context.Context) (*host.Plugin, error) { return launch(ctx, dir, unix.New()) },
		supervise.WithHold(roundTimeout),
		supervise.WithLogger(slog.New(slog.DiscardHandler)),
		supervise.WithPolicy(supervise.Policy{Delay: time.Millisecond, StableAfter: time.Nanosecond, MaxEnds: times + 1}))
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if _, err := multi.NewUserServiceClient(h).CreateUser(t.Context(), &multi.CreateUserRequest{Name: "root", Role: multi.Role_ROLE_ADMIN}); err != nil {
		t.Fatal(err)
	}
	cells := newCells()
	var acknowledged atomic.Int64
	due := make(chan struct{}, 1) // has a value after each callers' acknowledged writes
	done := make(chan struct{})
	var writers sync.WaitGroup
	client := multi.NewDataServiceClient(h)
	for _, own := range cells {
		writers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				c := &own[i%len(own)]
				c.tried++
				ctx, cancel := context.WithTimeout(t.Context(), roundTimeout)
				_, err := client.StoreData(ctx, &multi.StoreRequest{Caller: "root", Key: c.key, Value: content(c.key, c.tried)})
				cancel()
				if err != nil {
					t.Errorf("%s: %v", c.key, err)
					return
				}
				c.acknowledged = c.tried
				if acknowledged.Add(1)%callers == 0 {
					select {
					case due <- struct{}{}:
					default:
					}
				}
			}
		})
	}
	for range times {
		for range 2 + rand.IntN(3) {
			select {
			case <-due:
			case <-time.After(roundTimeout):
				t.Error("no call is answered any more")
			}
		}
		killSupervised(t, h)
	}
	close(done)
	writers.Wait()
	if kept := verify(t, h, cells); kept > 0 {
		t.Errorf("%d writes that failed are there", kept)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	checkFile(t, dir)
	t.Logf("%d kills, %d writes acknowledged", times, acknowledged.Load())
}

// killSupervised kills the plugin that takes calls now.
func killSupervised(t *testing.T, h *supervise.Handle) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), roundTimeout)
	defer cancel()
	p, err := h.Plugin(ctx)
	if err != nil {
		t.Error(err)
		return
	}
	process, err := os.FindProcess(p.Info().PID)
	if err == nil {
		err = process.Kill() // or it has ended since
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		t.Errorf("the plugin has not ended: %v", err)
	}
}
