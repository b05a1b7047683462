// Command dataprocessor-host starts the data processor's plugin and sends it the lines of a file, many at a time. It
// prints the results in the order of the lines, then what the plugin remembers. Without a file it sends its own source.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"strings"
	"sync"

	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/plugins/dataprocessor/example"
	"github.com/plugwire/plugwire/plugins/dataprocessor/processor"
	"github.com/plugwire/plugwire/transport/quic"
	"github.com/plugwire/plugwire/transport/tcp"
	"github.com/plugwire/plugwire/transport/unix"
)

//go:embed main.go
var source string

// maxCalls is how many calls are under way at a time.
const maxCalls = 64

func main() {
	log.SetFlags(0)
	flag.Usage = func() { log.Print("usage: dataprocessor-host [FILE]") }
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, flag.Arg(0))
	stop()
	if err != nil {
		log.Fatal("dataprocessor-host: ", err)
	}
}

func run(ctx context.Context, file string) (err error) {
	text := source
	if file != "" {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		text = string(content)
	}
	cmd, err := pluginCommand(ctx)
	if err != nil {
		return err
	}
	p, err := host.Launch(ctx, cmd,
		host.WithProtocols(example.DataProcessorProtocol),
		host.WithTransports(unix.New(), quic.New(), tcp.New()), // the plugin takes the first that it can open
		host.WithMaxMessageSize(processor.MaxMessageSize))
	if err != nil {
		return err // a *host.StartError: it has the plugin's last lines, and what to do
	}
	defer func() { err = errors.Join(err, p.Close()) }()

	info := p.Info()
	fmt.Printf("%s version %d over %v, %s wire, secured by %s\n\n", info.Protocol, info.Version, info.Transport, info.Wire, info.Security)
	client := example.NewDataProcessorClient(p) // p is a grpc.ClientConnInterface
	if err := processLines(ctx, os.Stdout, client, text); err != nil {
		return err
	}
	if err := printStored(ctx, client, "PLUGIN"); err != nil {
		return err
	}
	// An error of the plugin is a gRPC status, with a code for programs and a text for people.
	_, err = client.ProcessData(ctx, &example.ProcessRequest{Data: "text", Options: map[string]string{"rot13": "true"}})
	fmt.Printf("\nrefused: %v\n", status.Convert(err))
	return nil
}

type outcome struct {
	response *example.ProcessResponse
	err      error
}

// processLines makes a call for each line, and prints the results in the order of the lines.
func processLines(ctx context.Context, out io.Writer, client example.DataProcessorClient, text string) error {
	var calls sync.WaitGroup
	defer calls.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()                                  // ends the calls that are under way when one has failed
	outcomes := make(chan chan outcome, maxCalls-1) // one more is the next to print
	calls.Go(func() {
		defer close(outcomes)
		for line := range strings.Lines(text) {
			done := make(chan outcome, 1)
			select {
			case outcomes <- done: // blocks while maxCalls are under way
			case <-ctx.Done():
				return
			}
			calls.Go(func() {
				response, err := client.ProcessData(ctx, &example.ProcessRequest{Data: line, Options: map[string]string{"uppercase": "true"}})
				done <- outcome{response, err}
			})
		}
	})
	for done := range outcomes {
		o := <-done
		if o.err != nil {
			return o.err
		}
		if _, err := io.WriteString(out, o.response.GetResult()); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// printStored prints the stored results that contain the text, newest first, as the plugin streams them.
func printStored(ctx context.Context, client example.DataProcessorClient, text string) error {
	stream, err := client.StreamResults(ctx, &example.StreamRequest{Query: text, Limit: 3})
	for err == nil {
		var item *example.ResultItem
		if item, err = stream.Recv(); err == nil {
			fmt.Printf("\nstored as %s: %s", item.GetId(), item.GetData())
		}
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
