package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/plugwire/plugwire/plugins/hostcli"
	"github.com/plugwire/plugwire/plugins/multiservice/multi"
)

const (
	// maxCalls is how many calls are under way at a time: as many as share one
	// transaction of the plugin.
	maxCalls = 64
	// maxLine is larger than the longest key and value together.
	maxLine = 2 << 20
)

// An importObject is a JSON object of the output.
type importObject struct {
	Type    string  `json:"type"` // "imported"
	Entries int     `json:"entries"`
	Seconds float64 `json:"seconds"`
}

func importCommand() *hostcli.Command {
	var caller, name string
	return &hostcli.Command{
		Name:    "import",
		Args:    "FILE|-",
		Summary: "store the lines of a file, many at a time",
		Help: `Stores each line of FILE, or of standard input, on behalf of a writer or an
admin. A line is a key, a tab and a value. Up to 64 are on their way at a time,
so the order in which lines with the same key are stored is not defined.

The first line that fails ends the command; lines near it may have been stored.
`,
		Flags: func(flags *flag.FlagSet) { addCaller(flags, &caller, " (required)") },
		Parse: withCaller(&caller, func(args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("import needs one FILE, or - for standard input, and has %d", len(args))
			}
			name = args[0]
			return nil
		}),
		Run: func(ctx context.Context, s *hostcli.Session) error {
			// The file is opened before the plugin starts, so that a misspelt
			// name fails at once.
			input, err := hostcli.Open(ctx, name)
			if err != nil {
				return err
			}
			defer input.Close()
			p, err := s.Start(ctx)
			if err != nil {
				return err
			}
			start := time.Now()
			n, err := importLines(ctx, multi.NewDataServiceClient(p), caller, input)
			if err != nil {
				return err
			}
			seconds := time.Since(start).Seconds()
			return s.Print(fmt.Sprintf("%d entries in %.2f s, %.0f a second\n", n, seconds, float64(n)/seconds),
				importObject{"imported", n, seconds})
		},
	}
}

// importLines stores the lines of input and returns how many there were. After
// the first error it reads no further line. No call is under way when it
// returns.
func importLines(ctx context.Context, client multi.DataServiceClient, caller string, input io.Reader) (n int, err error) {
	var calls sync.WaitGroup
	defer calls.Wait()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	free := make(chan struct{}, maxCalls) // holds one for each call under way
	lines := hostcli.Lines(ctx, input, maxLine)
	for ctx.Err() == nil {
		var l hostcli.Line
		var ok bool
		select {
		case l, ok = <-lines:
		case <-ctx.Done():
		}
		if !ok {
			break
		}
		request, err := parseEntry(l)
		if err != nil {
			cancel(&hostcli.LineError{Line: l.Number, Err: err})
			break
		}
		request.Caller = caller
		n++
		select {
		case free <- struct{}{}:
		case <-ctx.Done():
			continue
		}
		calls.Go(func() {
			defer func() { <-free }()
			if _, err := client.StoreData(ctx, request); err != nil {
				cancel(&hostcli.LineError{Line: l.Number, Err: err}) // keeps only the first error
			}
		})
	}
	calls.Wait()
	return n, context.Cause(ctx)
}

// parseEntry returns the key and the value of a line.
func parseEntry(l hostcli.Line) (*multi.StoreRequest, error) {
	if l.Err != nil {
		return nil, l.Err
	}
	key, value, ok := strings.Cut(l.Text, "\t")
	if !ok {
		return nil, errors.New("the line has no tab between a key and a value")
	}
	if err := hostcli.CheckText(key); err != nil {
		return nil, err
	}
	return &multi.StoreRequest{Key: key, Value: []byte(value)}, nil
}
