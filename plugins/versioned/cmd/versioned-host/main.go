// Command versioned-host starts the plugin three times: as a host that knows only version 1 of the protocol, as one that
// knows 1 and 2, and as one of the future, which knows only 3. Each has the plugin sort files.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/plugins/versioned/example"
	"github.com/plugwire/plugwire/plugins/versioned/processor"
	"github.com/plugwire/plugwire/transport/quic"
	"github.com/plugwire/plugwire/transport/tcp"
	"github.com/plugwire/plugwire/transport/unix"
)

//go:embed main.go
var source string

// future stands for the protocol that a later release would generate.
var future = protocol.New(example.DataProcessorV2Protocol.Name(), 3, &example.DataProcessorV2_ServiceDesc)

func main() {
	log.SetFlags(0)
	flag.Usage = func() { log.Print("usage: versioned-host [FILE]...") }
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, flag.Args())
	stop()
	if err != nil {
		log.Fatal("versioned-host: ", err)
	}
}

func run(ctx context.Context, files []string) error {
	texts := []string{source, ""} // the plugin refuses an empty text
	if len(files) > 0 {
		texts = nil
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		texts = append(texts, string(content))
	}
	for _, known := range [][]*protocol.Protocol{
		{example.DataProcessorV1Protocol},
		{example.DataProcessorV1Protocol, example.DataProcessorV2Protocol},
		{future},
	} {
		if err := sort(ctx, known, texts); err != nil {
			return err
		}
	}
	return nil
}

// sort offers the versions to the plugin, and sorts the texts by the one that the plugin has chosen.
func sort(ctx context.Context, known []*protocol.Protocol, texts []string) (err error) {
	cmd, err := pluginCommand(ctx)
	if err != nil {
		return err
	}
	p, err := host.Launch(ctx, cmd,
		host.WithProtocols(known...), // the highest that both have is chosen
		host.WithTransports(unix.New(), quic.New(), tcp.New()),
		host.WithMaxMessageSize(processor.MaxMessageSize))
	if refused := new(handshake.Error); errors.As(err, &refused) {
		fmt.Printf("refused: %v\n", refused)
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	fmt.Printf("version %d\n", p.Info().Version)
	switch p.Info().Version {
	case 1:
		return sortV1(ctx, example.NewDataProcessorV1Client(p), texts)
	case 2:
		return sortV2(ctx, example.NewDataProcessorV2Client(p), texts)
	}
	return fmt.Errorf("version %d has no client here", p.Info().Version)
}

// sortV1 makes a call for each text. Version 1 has no parameters for options.
func sortV1(ctx context.Context, client example.DataProcessorV1Client, texts []string) error {
	for i, text := range texts {
		response, err := client.Process(ctx, &example.ProcessRequestV1{Data: text, Options: map[string]string{"sort": "true"}})
		switch status.Code(err) {
		case codes.OK:
			fmt.Printf("  text %d: %d bytes\n", i+1, len(response.GetResult()))
		case codes.InvalidArgument: // the other texts go on
			fmt.Printf("  text %d: %s\n", i+1, status.Convert(err).Message())
		default:
			return err
		}
	}
	return nil
}

// sortV2 makes one call for all texts, and keeps one of equal lines. Each text has a result or an error of its own.
func sortV2(ctx context.Context, client example.DataProcessorV2Client, texts []string) error {
	request := new(example.BatchProcessRequest)
	unique := &example.Operation{Kind: &example.Operation_SortLines{SortLines: &example.SortLines{Unique: true}}}
	for _, text := range texts {
		request.Items = append(request.Items, &example.ProcessRequestV2{Text: text, Operations: []*example.Operation{unique}})
	}
	response, err := client.BatchProcess(ctx, request)
	if err != nil {
		return err
	}
	for i, result := range response.GetResults() {
		if failed := result.GetError(); failed != nil {
			fmt.Printf("  text %d: %s\n", i+1, failed.GetMessage())
			continue
		}
		sorted := result.GetResponse()
		fmt.Printf("  text %d: %d bytes in %d different lines\n", i+1, len(sorted.GetText()), sorted.GetStatistics().GetLines())
	}
	return nil
}
