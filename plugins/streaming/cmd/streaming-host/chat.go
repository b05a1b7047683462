package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"sync"

	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/plugins/hostcli"
	"github.com/plugwire/plugwire/plugins/streaming/chat"
	"github.com/plugwire/plugwire/plugins/streaming/streaming"
)

const chatHelp = `Joins the plugin's chat room, posts the lines of standard input, and prints
all messages as "USER: TEXT", until standard input ends and the last reply has come.
An empty line is not posted. Lines of a text after its first are indented.

The user "assistant" replies to each line. It knows some commands: /help lists
them.
`

// A messageObject is a JSON object of the output.
type messageObject struct {
	Type      string `json:"type"` // "message"
	User      string `json:"user"`
	Text      string `json:"text"`
	Timestamp int64  `json:"timestamp"` // seconds since the Unix epoch
	Sequence  int64  `json:"sequence"`
}

type chatStream = grpc.BidiStreamingClient[streaming.ChatMessage, streaming.ChatMessage]

func chatCommand() *hostcli.Command {
	var user string
	return &hostcli.Command{
		Name:    "chat",
		Summary: "chat in the plugin's room",
		Help:    chatHelp,
		Flags: func(flags *flag.FlagSet) {
			flags.StringVar(&user, "user", "", "your `name` in the room; required")
		},
		Parse: func(args []string) error {
			switch {
			case len(args) > 0:
				return errors.New("chat has no arguments")
			case user == "":
				return errors.New("chat needs -user NAME")
			}
			return hostcli.CheckText(user)
		},
		Run: func(ctx context.Context, s *hostcli.Session) error {
			plugin, err := s.Start(ctx)
			if err != nil {
				return err
			}
			input, err := hostcli.Open(ctx, "-")
			if err != nil {
				return err
			}
			defer input.Close()
			return converse(ctx, streaming.NewStreamingServiceClient(plugin), s, user, input)
		},
	}
}

// converse posts the lines of input, and prints all messages.
func converse(ctx context.Context, client streaming.StreamingServiceClient, s *hostcli.Session, user string, input io.Reader) error {
	var talking sync.WaitGroup
	defer talking.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := client.Chat(ctx)
	if err != nil {
		return err
	}
	lines := hostcli.TextLines(ctx, input, chat.MaxText)
	var mistake error // error of the input, when talk has returned
	talking.Go(func() { mistake = talk(ctx, stream, lines, user) })
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			cancel()
			talking.Wait()
			return mistake
		}
		if err != nil {
			return err
		}
		text := fmt.Sprintf("%s: %s\n", shown(m.GetUser()), shown(m.GetText()))
		if err := s.Print(text, messageObject{"message", m.GetUser(), m.GetText(), m.GetTimestamp(), m.GetSequence()}); err != nil {
			return err
		}
	}
}

// talk joins under a name and posts lines until the end, or until a line cannot
// be posted. It does not return errors of the stream, because Recv returns
// them.
func talk(ctx context.Context, stream chatStream, lines <-chan hostcli.Line, user string) error {
	if err := stream.Send(&streaming.ChatMessage{User: user}); err != nil {
		return nil //nolint:nilerr // see above
	}
	for {
		select {
		case l, ok := <-lines:
			switch {
			case !ok:
				return stream.CloseSend()
			case l.Err != nil:
				if err := stream.CloseSend(); err != nil {
					return err
				}
				return &hostcli.LineError{Line: l.Number, Err: l.Err}
			case l.Text == "":
				continue
			}
			if err := stream.Send(&streaming.ChatMessage{Text: l.Text}); err != nil {
				return nil //nolint:nilerr // see above
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// shown returns the form of a text for a terminal: lines after the first are
// indented, so that none looks like a message.
func shown(text string) string { return strings.ReplaceAll(hostcli.Safe(text), "\n", "\n  ") }
