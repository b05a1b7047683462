// Command streaming-host starts the plugin on a directory, puts a file there, gets it back, and chats with the
// assistant of the plugin's room. Without a file it takes its own program.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/plugins/streaming/handler"
	"github.com/plugwire/plugwire/plugins/streaming/streaming"
	"github.com/plugwire/plugwire/transport/quic"
	"github.com/plugwire/plugwire/transport/tcp"
	"github.com/plugwire/plugwire/transport/unix"
)

func main() {
	log.SetFlags(0)
	root := flag.String("root", "", "`directory` whose files the plugin serves (default a temporary one)")
	flag.Usage = func() {
		log.Print("usage: streaming-host [-root DIRECTORY] [FILE]")
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *root, flag.Arg(0))
	stop()
	if err != nil {
		log.Fatal("streaming-host: ", err)
	}
}

func run(ctx context.Context, root, file string) (err error) {
	scratch, err := os.MkdirTemp("", "streaming-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	if root == "" {
		root = scratch
	}
	if file == "" {
		if file, err = os.Executable(); err != nil {
			return err
		}
	}
	cmd, err := pluginCommand(ctx, "-root", root)
	if err != nil {
		return err
	}
	p, err := host.Launch(ctx, cmd,
		host.WithProtocols(streaming.StreamingServiceProtocol),
		host.WithTransports(unix.New(), quic.New(), tcp.New()),
		host.WithMaxMessageSize(handler.MaxMessageSize))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	client := streaming.NewStreamingServiceClient(p)

	name, began := "copies/"+filepath.Base(file), time.Now()
	sent, err := put(ctx, client, file, name)
	if err != nil {
		return err
	}
	fmt.Printf("put %s: %d bytes in %v\n", name, sent.GetTotalBytes(), time.Since(began).Round(time.Millisecond))
	began = time.Now()
	if _, err := get(ctx, client, name, filepath.Join(scratch, "back")); err != nil {
		return err
	}
	fmt.Printf("got it back in %v, with the same SHA-256\n", time.Since(began).Round(time.Millisecond))
	return chat(ctx, client, "ann", "good morning", "/who", "/calc 2*(3+4)")
}

// chat joins the room and says the lines. Each comes back, like the lines of all, and then the assistant replies.
func chat(ctx context.Context, client streaming.StreamingServiceClient, user string, lines ...string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := client.Chat(ctx)
	if err != nil {
		return err
	}
	send := func(m *streaming.ChatMessage) error {
		if err := stream.Send(m); err != nil && !errors.Is(err, io.EOF) { // after EOF, Recv returns the reason
			return err
		}
		return nil
	}
	if err := send(&streaming.ChatMessage{User: user}); err != nil {
		return err
	}
	for _, line := range lines {
		if err := send(&streaming.ChatMessage{Text: line}); err != nil {
			return err
		}
		for range 2 {
			message, err := stream.Recv()
			if err != nil {
				return err
			}
			fmt.Printf("%q: %q\n", message.GetUser(), message.GetText())
		}
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("the room did not end the stream: %w", err)
	}
	return nil
}
