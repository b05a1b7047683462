package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/plugins/dataprocessor/example"
	"github.com/plugwire/plugwire/plugins/hostcli"
)

// A recorder records the output of a pipeline.
type recorder []string

func (r *recorder) print(l hostcli.Line, response *example.ProcessResponse) error {
	*r = append(*r, fmt.Sprintf("%d:%s", l.Number, response.GetResult()))
	return nil
}

func echo(_ context.Context, text string) (*example.ProcessResponse, error) {
	return &example.ProcessResponse{Result: text}, nil
}

func newPipeline(r *recorder) *pipeline {
	return &pipeline{maxCalls: maxCalls, maxBytes: maxBytes, send: echo, print: r.print}
}

func TestPipelineKeepsTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const lines = 200
		var printed recorder
		var input strings.Builder
		var want recorder
		for i := 1; i <= lines; i++ {
			fmt.Fprintf(&input, "%d\n", i)
			want = append(want, fmt.Sprintf("%d:%d", i, i))
		}
		p := newPipeline(&printed)
		p.send = func(ctx context.Context, text string) (*example.ProcessResponse, error) {
			// Every tenth line is slow, so that later ones overtake it.
			if strings.HasSuffix(text, "0") {
				time.Sleep(time.Second)
			}
			return echo(ctx, text)
		}
		if err := p.run(t.Context(), strings.NewReader(input.String())); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, printed); diff != "" {
			t.Errorf("printed (-want +got):\n%s", diff)
		}
	})
}

func TestPipelineBounds(t *testing.T) {
	for _, tt := range []struct {
		name     string
		maxCalls int
		maxBytes int
		want     int64
	}{
		{"calls", maxCalls, maxBytes, 64},
		{"bytes", maxCalls, 50, 5}, // of 10 each
		{"a line that exceeds the bytes", maxCalls, 1, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var started atomic.Int64
				release := make(chan struct{})
				var printed recorder
				p := newPipeline(&printed)
				p.maxCalls, p.maxBytes = tt.maxCalls, tt.maxBytes
				p.send = func(ctx context.Context, text string) (*example.ProcessResponse, error) {
					started.Add(1)
					<-release
					return echo(ctx, text)
				}
				ended := make(chan error)
				go func() { ended <- p.run(t.Context(), strings.NewReader(strings.Repeat("123456789\n", 200))) }()
				synctest.Wait()
				if n := started.Load(); n != tt.want {
					t.Errorf("%d calls under way, want %d", n, tt.want)
				}
				close(release)
				if err := <-ended; err != nil || len(printed) != 200 {
					t.Errorf("error %v, %d lines printed, want 200", err, len(printed))
				}
			})
		})
	}
}

func TestPipelineEmptyLines(t *testing.T) {
	var printed recorder
	p := newPipeline(&printed)
	p.send = func(ctx context.Context, text string) (*example.ProcessResponse, error) {
		if text == "" {
			return nil, errors.New("an empty line was sent")
		}
		return echo(ctx, text)
	}
	if err := p.run(t.Context(), strings.NewReader("\na\n\n")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(recorder{"1:", "2:a", "3:"}, printed); diff != "" {
		t.Errorf("printed (-want +got):\n%s", diff)
	}
}

func TestPipelineStopsAtTheFirstError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var printed recorder
		p := newPipeline(&printed)
		p.send = func(ctx context.Context, text string) (*example.ProcessResponse, error) {
			switch text {
			case "bad":
				return nil, status.Error(codes.InvalidArgument, "no good")
			case "endless":
				<-ctx.Done()
				return nil, ctx.Err()
			}
			time.Sleep(time.Second) // fails after the lines that follow it
			return echo(ctx, text)
		}
		err := p.run(t.Context(), strings.NewReader("a\nb\nbad\nbad\nc\nendless\n"))
		if err == nil || err.Error() != "line 3: no good (InvalidArgument)" {
			t.Errorf("error %v, want that of line 3", err)
		}
		if diff := cmp.Diff(recorder{"1:a", "2:b"}, printed); diff != "" {
			t.Errorf("printed (-want +got):\n%s", diff)
		}
	})
}

func TestPipelineReturnsThePrintError(t *testing.T) {
	full := errors.New("disk full")
	p := newPipeline(nil)
	p.print = func(hostcli.Line, *example.ProcessResponse) error { return full }
	if err := p.run(t.Context(), strings.NewReader("a\nb\n")); !errors.Is(err, full) {
		t.Errorf("error %v, want %v", err, full)
	}
}

func TestPipelineIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	blocked, unblock := io.Pipe() // an input without data
	defer unblock.Close()
	p := newPipeline(nil)
	p.send = func(ctx context.Context, _ string) (*example.ProcessResponse, error) {
		cancel()
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if err := p.run(ctx, io.MultiReader(strings.NewReader("a\n"), blocked)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want Canceled", err)
	}
}

// The end of the context also ends the lines, which is not the end of the input.
// Either may be seen first.
func TestPipelineOfAnEndedContext(t *testing.T) {
	for range 100 {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			p := newPipeline(nil)
			p.print = func(hostcli.Line, *example.ProcessResponse) error {
				cancel()
				synctest.Wait() // until there are no more lines
				return nil
			}
			if err := p.run(ctx, strings.NewReader("a\n")); !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, want Canceled", err)
			}
		})
	}
}
