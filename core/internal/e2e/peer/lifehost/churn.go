//go:build linux

package lifehost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"syscall"
	"time"

	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
)

// churn returns only after an error that the plugin has not caused.
func (h *lifeHost) churn() error {
	const workers = 3 // there are always some plugins starting and some stopping
	failed := make(chan error, workers)
	for range workers {
		go func() {
			for {
				if err := h.cycle(); err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	return <-failed
}

// cycle launches a plugin, brings it into some state, leaves it there for a
// while and ends it in some way.
func (h *lifeHost) cycle() error {
	var opts []host.Option
	if rand.IntN(2) == 0 {
		opts = append(opts, host.WithMutualTLS())
	}
	p, err := h.launch(opts...)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	client := echopb.NewEchoClient(p)
	states := []string{"idle", "chat", "stay", "spin", "chatter", "spawn"}
	switch state := states[rand.IntN(len(states))]; state {
	case "idle":
	case "chat", "stay":
		err = converse(ctx, client, state)
	default:
		_, err = client.Fail(ctx, &echopb.FailRequest{How: state})
	}
	if err != nil {
		return err
	}
	const longest = 100 * time.Millisecond
	linger, cancel := context.WithTimeout(ctx, rand.N(longest))
	defer cancel()
	<-linger.Done()
	// It never uses SIGKILL: if a plugin and its host are killed in the same
	// moment, no process is left to remove the socket.
	switch rand.IntN(3) {
	case 0:
		return p.Close()
	case 1:
		// The error does not matter: the plugin may be in a call that never
		// ends.
		_ = p.Shutdown(linger)
		return nil
	default:
		if err := syscall.Kill(p.Info().PID, syscall.SIGTERM); err != nil {
			return err
		}
		<-p.Done()
		return nil
	}
}

// converse leaves a plugin in the middle of a call.
func converse(ctx context.Context, client echopb.EchoClient, word string) error {
	chat, err := client.Chat(ctx)
	if err != nil {
		return err
	}
	if err := chat.Send(&echopb.Payload{Data: []byte(word)}); err != nil {
		return err
	}
	_, err = chat.Recv()
	return err
}

// chat is a call in flight.
type chat = grpc.BidiStreamingClient[echopb.Payload, echopb.Payload]

// exchange makes a round trip within a call.
func exchange(c chat) error {
	word := strconv.FormatUint(rand.Uint64(), 36)
	if err := c.Send(&echopb.Payload{Data: []byte(word)}); err != nil {
		return err
	}
	got, err := c.Recv()
	if err == nil && string(got.GetData()) != word {
		err = fmt.Errorf("got %q back for %q", got.GetData(), word)
	}
	return err
}

// finish ends a call normally.
func finish(c chat) error {
	if err := c.CloseSend(); err != nil {
		return err
	}
	if _, err := c.Recv(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("got %w instead of the end", err)
	}
	return nil
}
