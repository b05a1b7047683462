// Command trial-plugin is the plugin of package trial.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/trial"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/transport/quic"
	"github.com/plugwire/plugwire/transport/tcp"
	"github.com/plugwire/plugwire/transport/unix"
)

func main() {
	opts := []plugin.Option{plugin.WithTransports(unix.New(), quic.New(), tcp.New())}
	// Each argument changes the plugin.
	for _, arg := range os.Args[1:] {
		if cookie, ok := strings.CutPrefix(arg, "-cookie="); ok {
			name, value, _ := strings.Cut(cookie, "=")
			opts = append(opts, plugin.WithCookie(name, value))
		}
		if text, ok := strings.CutPrefix(arg, "-log="); ok {
			opts = append(opts, plugin.OnReady(func(ctx context.Context) error {
				plugin.Logger(ctx).Warn(text) //nolint:sloglint // a test gives the whole text
				return nil
			}))
		}
	}
	plugin.Main(trial.ServeTrial(handler{}), opts...)
}

type handler struct{}

// Echo implements trial.TrialHandler, as all methods here.
func (handler) Echo(_ context.Context, text *trial.Text) (*trial.Text, error) { return text, nil }

func (handler) Count(number *trial.Number, stream trial.Trial_CountServer) error {
	for n := range number.GetNumber() {
		if err := stream.Send(&trial.Number{Number: n + 1}); err != nil {
			return err
		}
	}
	return nil
}

func (handler) Sum(stream trial.Trial_SumServer) error {
	var sum int64
	for {
		n, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return stream.SendAndClose(&trial.Number{Number: sum})
		}
		if err != nil {
			return err
		}
		sum += n.GetNumber()
	}
}

func (handler) Chat(stream trial.Trial_ChatServer) error {
	for {
		text, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = stream.Send(text)
		}
		if err != nil {
			return err
		}
	}
}

func (handler) Fail(_ context.Context, text *trial.Text) (*trial.Text, error) {
	s, err := status.New(codes.FailedPrecondition, "the trial failed").WithDetails(
		&errdetails.ErrorInfo{Reason: "TRIAL", Domain: "example.com"}, text)
	if err != nil {
		return nil, err
	}
	return nil, s.Err()
}

func (handler) Metadata(ctx context.Context, text *trial.Text) (*trial.Text, error) {
	return &trial.Text{Text: text.GetText(), More: metadata.ValueFromIncomingContext(ctx, text.GetText())}, nil
}

func (handler) Ask(ctx context.Context, text *trial.Text) (*trial.Text, error) {
	return trial.NewNotesClient(plugin.Host(ctx)).Find(ctx, text)
}

func (handler) AskAll(ctx context.Context, text *trial.Text) (*trial.Text, error) {
	stream, err := trial.NewNotesClient(plugin.Host(ctx)).List(ctx, text)
	if err != nil {
		return nil, err
	}
	return all(stream.Recv)
}

func (handler) AskChat(ctx context.Context, text *trial.Text) (*trial.Text, error) {
	stream, err := trial.NewNotesClient(plugin.Host(ctx)).Talk(ctx)
	for range 2 {
		if err == nil {
			err = stream.Send(text)
		}
	}
	if err == nil {
		err = stream.CloseSend()
	}
	if err != nil {
		return nil, err
	}
	return all(stream.Recv)
}

// all collects the texts of a stream.
func all(recv func() (*trial.Text, error)) (*trial.Text, error) {
	found := &trial.Text{}
	for {
		text, err := recv()
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
		found.More = append(found.More, text.GetText())
	}
}

func (handler) Wait(ctx context.Context, _ *trial.Text) (*trial.Text, error) {
	fmt.Fprintln(os.Stderr, "waiting")
	<-ctx.Done()
	return nil, status.FromContextError(ctx.Err()).Err()
}

func (handler) Die(_ context.Context, number *trial.Number) (*trial.Text, error) {
	os.Exit(int(number.GetNumber()))
	return nil, nil
}

func (handler) SetHealth(ctx context.Context, number *trial.Number) (*trial.Text, error) {
	plugin.SetHealth(ctx, number.GetNumber() == 1)
	return &trial.Text{}, nil
}
