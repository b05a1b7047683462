package call

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/message"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/output"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/schema"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/protocol"
)

// callbacks are the services that the host serves, with answers from files.
type callbacks struct {
	out      *output.Printer
	services []service
	schema   *schema.Schema // may be read once known is closed
	known    chan struct{}
}

// service is one of them.
type service struct {
	name    string
	file    string
	methods map[string]answers
}

// answers are what a method answers.
type answers struct {
	messages []json.RawMessage
	err      error // a status; nil for none
}

// newCallbacks reads the files of the flags -serve.
func newCallbacks(flags []string, out *output.Printer) (*callbacks, error) {
	c := &callbacks{out: out, known: make(chan struct{})}
	for _, flag := range flags {
		name, file, ok := strings.Cut(flag, "=")
		if !ok || !protoreflect.FullName(name).IsValid() {
			return nil, output.Usage("-serve %q: want SERVICE=FILE", flag)
		}
		methods, err := readAnswers(file)
		if err != nil {
			return nil, output.Usage("-serve %s: %w", name, err)
		}
		c.services = append(c.services, service{name, file, methods})
	}
	return c, nil
}

func readAnswers(file string) (map[string]answers, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var entries map[string]json.RawMessage
	if err := json.Unmarshal(text, &entries); err != nil {
		return nil, fmt.Errorf("%s: want a JSON object of methods: %w", file, err)
	}
	methods := make(map[string]answers, len(entries))
	for method, entry := range entries {
		if !protoreflect.Name(method).IsValid() {
			return nil, fmt.Errorf("%s: %q is not the name of a method", file, method)
		}
		a, err := parseAnswers(entry)
		if err != nil {
			return nil, fmt.Errorf("%s, method %s: %w", file, method, err)
		}
		methods[method] = a
	}
	return methods, nil
}

func parseAnswers(entry json.RawMessage) (answers, error) {
	var a answers
	if bytes.HasPrefix(bytes.TrimSpace(entry), []byte("[")) {
		err := json.Unmarshal(entry, &a.messages)
		return a, err
	}
	var failed struct {
		Error *struct {
			Code    json.RawMessage `json:"code"`
			Message string          `json:"message"`
		} `json:"$error"`
	}
	if err := json.Unmarshal(entry, &failed); err != nil {
		return a, errors.New("want a message, an array of messages, or an $error")
	}
	if failed.Error == nil {
		a.messages = []json.RawMessage{entry}
		return a, nil
	}
	code, err := parseCode(failed.Error.Code)
	if err != nil {
		return a, err
	}
	a.err = status.Error(code, failed.Error.Message)
	return a, nil
}

// parseCode reads a code as a number, or as a name such as NotFound or NOT_FOUND.
func parseCode(text json.RawMessage) (codes.Code, error) {
	wanted := strings.ToLower(strings.ReplaceAll(strings.Trim(string(text), `"`), "_", ""))
	const last = codes.Unauthenticated
	for code := codes.Canceled; code <= last; code++ {
		if wanted == strings.ToLower(code.String()) || wanted == strconv.FormatUint(uint64(code), 10) {
			return code, nil
		}
	}
	return 0, fmt.Errorf("$error: code %s is not one of gRPC's, such as \"NotFound\"", text)
}

// options returns the host's options that serve the services.
func (c *callbacks) options() []host.Option {
	var bindings []protocol.Binding
	for _, s := range c.services {
		desc := &grpc.ServiceDesc{ServiceName: s.name, HandlerType: (*any)(nil)}
		for _, method := range slices.Sorted(maps.Keys(s.methods)) {
			// The kind of a method is known only when the plugin has been asked. A stream in
			// both directions serves calls of every kind.
			desc.Streams = append(desc.Streams, grpc.StreamDesc{
				StreamName: method, ServerStreams: true, ClientStreams: true,
				Handler: func(_ any, stream grpc.ServerStream) error { return c.answer(stream, s, method) },
			})
		}
		bindings = append(bindings, protocol.Bind(protocol.New("callbacks."+s.name, 1, desc), struct{}{}))
	}
	if len(bindings) == 0 {
		return nil
	}
	return []host.Option{host.WithServices(bindings...)}
}

// know gives the callbacks the messages of the services.
func (c *callbacks) know(s *schema.Schema) {
	c.schema = s
	close(c.known)
}

// check returns an error for a service or a method that does not exist, before the plugin
// calls in vain.
func (c *callbacks) check(s *schema.Schema) error {
	for _, served := range c.services {
		for method := range served.methods {
			if _, err := s.AnyMethod(served.name, method); err != nil {
				return output.Usage("-serve %s=%s: %w", served.name, served.file, err)
			}
		}
	}
	return nil
}

// answer serves one call of the plugin.
func (c *callbacks) answer(stream grpc.ServerStream, s service, name string) error {
	ctx := stream.Context()
	select {
	case <-c.known:
	case <-ctx.Done():
		return status.FromContextError(context.Cause(ctx)).Err()
	}
	method, err := c.schema.AnyMethod(s.name, name)
	if err != nil {
		return status.Error(codes.Unimplemented, err.Error())
	}
	a := s.methods[name]
	for n := 0; ; n++ {
		request := dynamicpb.NewMessage(method.Input())
		if err := stream.RecvMsg(request); err != nil {
			if !errors.Is(err, io.EOF) {
				return err
			}
			break
		}
		c.note(s.name, name, request)
		if method.IsStreamingClient() && method.IsStreamingServer() && len(a.messages) > 0 {
			if err := c.send(stream, method, a.messages[min(n, len(a.messages)-1)]); err != nil {
				return err
			}
		}
		if !method.IsStreamingClient() {
			break
		}
	}
	if a.err != nil {
		return a.err
	}
	if method.IsStreamingClient() && method.IsStreamingServer() {
		return nil
	}
	messages := a.messages
	if !method.IsStreamingServer() && len(messages) != 1 {
		return status.Errorf(codes.Internal, "%s has %d answers for method %s, which answers with one message", s.file, len(messages), name)
	}
	for _, message := range messages {
		if err := c.send(stream, method, message); err != nil {
			return err
		}
	}
	return nil
}

func (c *callbacks) send(stream grpc.ServerStream, method protoreflect.MethodDescriptor, value json.RawMessage) error {
	m := dynamicpb.NewMessage(method.Output())
	if err := (protojson.UnmarshalOptions{Resolver: c.schema.Types()}).Unmarshal(value, m); err != nil {
		return status.Errorf(codes.Internal, "the answer of method %s: %v", method.Name(), err)
	}
	return stream.SendMsg(m)
}

// note tells the person what the plugin has asked.
func (c *callbacks) note(service, method string, m *dynamicpb.Message) {
	shown, err := message.Text(m, c.schema.Types(), false)
	if err != nil {
		shown = json.RawMessage(err.Error())
	}
	c.out.Note("the plugin calls %s/%s %s", service, method, shown)
}
