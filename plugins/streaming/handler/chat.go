package handler

import (
	"cmp"
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/plugins/streaming/chat"
	"github.com/plugwire/plugwire/plugins/streaming/streaming"
)

type chatStream = grpc.BidiStreamingServer[streaming.ChatMessage, streaming.ChatMessage]

// Chat serves one participant of the room.
func (h *Handler) Chat(stream chatStream) error {
	participant, err := h.room.Enter()
	if err != nil {
		return err
	}
	defer participant.Leave()
	first, err := introduction(stream)
	if errors.Is(err, io.EOF) {
		return nil // the participant left without a message
	}
	if err != nil {
		return err
	}
	if err := participant.Join(first.GetUser()); err != nil {
		return err
	}
	if err := stream.SendHeader(metadata.MD{}); err != nil {
		return err
	}
	return h.converse(stream, participant, first)
}

// converse receives the participant's posts, and sends it the room's messages,
// until either ends.
//
// It uses two goroutines. Either may be blocked in the stream when the call has
// to end, and only the end of the call unblocks it, because that cancels the
// stream. So converse does not wait for them.
func (h *Handler) converse(stream chatStream, participant *chat.Participant, first *streaming.ChatMessage) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	heard, told := make(chan error, 1), make(chan error, 1)
	go func() { heard <- h.listen(ctx, stream, participant, first) }()
	go func() { told <- tell(ctx, stream, participant) }()
	var reason error // why the participant posts no more
	select {
	case reason = <-heard:
	case <-plugin.Stopping(ctx):
		reason = errStopping
	case err := <-told:
		return err
	case <-participant.Gone():
		return chat.ErrTooSlow
	}
	participant.Finish() // tell ends with the messages from before
	select {
	case err := <-told:
		return cmp.Or(err, reason)
	case <-participant.Gone():
		return chat.ErrTooSlow
	}
}

var errStopping = status.Error(codes.Unavailable, "the plugin stops")

// introduction returns the first message, unless the plugin stops before it comes.
func introduction(stream chatStream) (*streaming.ChatMessage, error) {
	type result struct {
		message *streaming.ChatMessage
		err     error
	}
	received := make(chan result, 1)
	go func() { // this goroutine ends with the call
		message, err := stream.Recv()
		received <- result{message, err}
	}()
	select {
	case r := <-received:
		return r.message, r.err
	case <-plugin.Stopping(stream.Context()):
		return nil, errStopping
	}
}

// listen posts the participant's messages, until it closes its side.
func (h *Handler) listen(ctx context.Context, stream chatStream, participant *chat.Participant, message *streaming.ChatMessage) error {
	joining := true
	for {
		if !joining || message.GetText() != "" {
			if err := participant.Post(ctx, message.GetText(), h.assistant.Reply); err != nil {
				return err
			}
		}
		joining = false
		var err error
		if message, err = stream.Recv(); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := participant.CheckUser(message.GetUser()); err != nil {
			return err
		}
	}
}

// tell sends the participant the room's messages, until it has left.
func tell(ctx context.Context, stream chatStream, participant *chat.Participant) error {
	for {
		message, err := participant.Next(ctx)
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		err = stream.Send(&streaming.ChatMessage{
			User:      message.User,
			Text:      message.Text,
			Timestamp: message.Time.Unix(),
			Sequence:  message.Sequence,
		})
		if err != nil {
			return err
		}
	}
}
