package call

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/message"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/schema"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/target"
)

// invocation is one call.
type invocation struct {
	*command
	plugin *target.Plugin
	schema *schema.Schema
	method protoreflect.MethodDescriptor
	in     *message.Input
}

func (i *invocation) run(ctx context.Context) error {
	begun := time.Now()
	var header, trailer metadata.MD
	var err error
	if i.method.IsStreamingClient() || i.method.IsStreamingServer() {
		header, trailer, err = i.stream(ctx)
	} else {
		header, trailer, err = i.unary(ctx)
	}
	if i.verbose {
		i.showMetadata("header", header)
		i.showMetadata("trailer", trailer)
		i.out.Note("the call took %v", time.Since(begun).Round(10*time.Microsecond))
	}
	return i.failure(err)
}

// fullName is the name of the method on the wire.
func (i *invocation) fullName() string {
	return fmt.Sprintf("/%s/%s", i.method.Parent().FullName(), i.method.Name())
}

func (i *invocation) unary(ctx context.Context) (header, trailer metadata.MD, err error) {
	request, err := i.in.Only(i.method.Input(), i.schema.Types())
	if err != nil {
		return nil, nil, err
	}
	response := dynamicpb.NewMessage(i.method.Output())
	if err := i.plugin.Invoke(ctx, i.fullName(), request, response, grpc.Header(&header), grpc.Trailer(&trailer)); err != nil {
		return header, trailer, err
	}
	return header, trailer, i.show(response)
}

// stream makes a call of any other kind. Messages are sent and received at the same time.
func (i *invocation) stream(ctx context.Context) (header, trailer metadata.MD, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	desc := &grpc.StreamDesc{ClientStreams: i.method.IsStreamingClient(), ServerStreams: i.method.IsStreamingServer()}
	stream, err := i.plugin.NewStream(ctx, desc, i.fullName())
	if err != nil {
		return nil, nil, err
	}
	// The goroutine ends with the call. It may still wait for standard input then, which
	// ends with the process.
	go func() {
		if err := i.send(stream); err != nil {
			cancel(err)
		}
	}()
	received := 0
	for {
		response := dynamicpb.NewMessage(i.method.Output())
		err = stream.RecvMsg(response)
		if err != nil {
			break
		}
		received++
		if err = i.show(response); err != nil {
			cancel(err)
			break
		}
		if !i.method.IsStreamingServer() {
			break // grpc has received the status too
		}
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, ctx.Err()) {
		return nil, nil, cause // the input or the output failed, and the call with it
	}
	header, headerErr := stream.Header()
	if headerErr != nil {
		header = nil // the error of the call says why
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return header, stream.Trailer(), err
}

// send sends the messages of the input. An error is one of the input: those of the stream
// are what RecvMsg returns.
func (i *invocation) send(stream grpc.ClientStream) error {
	if !i.method.IsStreamingClient() {
		request, err := i.in.Only(i.method.Input(), i.schema.Types())
		if err != nil {
			return err
		}
		if stream.SendMsg(request) == nil {
			_ = stream.CloseSend()
		}
		return nil
	}
	for {
		request, err := i.in.Next(i.method.Input(), i.schema.Types())
		if errors.Is(err, io.EOF) {
			_ = stream.CloseSend()
			return nil
		}
		if err != nil {
			return err
		}
		if stream.SendMsg(request) != nil {
			return nil //nolint:nilerr // the answers say why
		}
	}
}

// show prints an answer: for a person over several lines, for a program on one.
func (i *invocation) show(m proto.Message) error {
	b, err := message.Text(m, i.schema.Types(), i.defaults)
	if err != nil {
		return err
	}
	if !i.out.JSON {
		var indented bytes.Buffer
		if err := json.Indent(&indented, b, "", "  "); err != nil {
			return err
		}
		b = indented.Bytes()
	}
	return i.out.Text(string(b) + "\n")
}

func (i *invocation) showMetadata(what string, md metadata.MD) {
	for name, values := range md {
		for _, value := range values {
			i.out.Note("%s %s: %q", what, name, value)
		}
	}
}
