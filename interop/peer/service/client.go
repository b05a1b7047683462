package service

import (
	"context"
	"errors"
	"io"

	"github.com/golang/protobuf/ptypes/empty"
	"github.com/golang/protobuf/ptypes/wrappers"
	"google.golang.org/grpc"
)

// Conn is grpc.ClientConnInterface, which the grpc of the oldest release does
// not have.
type Conn interface {
	Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error
	NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error)
}

// Client calls the service on a connection. Its methods are those of [Handler].
type Client struct{ Conn }

// Echo calls the method of that name, as all of these do.
func (c Client) Echo(ctx context.Context, data []byte) ([]byte, error) {
	var resp wrappers.BytesValue
	err := c.Invoke(ctx, fullName("Echo"), &wrappers.BytesValue{Value: data}, &resp)
	return resp.GetValue(), err
}

// Count returns the received numbers.
func (c Client) Count(ctx context.Context, n uint32) ([]uint32, error) {
	stream, err := c.NewStream(ctx, &Desc.Streams[0], fullName(count))
	if err != nil {
		return nil, err
	}
	if err := errors.Join(stream.SendMsg(&wrappers.UInt32Value{Value: n}), stream.CloseSend()); err != nil {
		return nil, err
	}
	var numbers []uint32
	for {
		var resp wrappers.UInt32Value
		switch err := stream.RecvMsg(&resp); {
		case err == nil:
			numbers = append(numbers, resp.GetValue())
		case errors.Is(err, io.EOF):
			return numbers, nil
		default:
			return nil, err
		}
	}
}

// Version returns the version that the plugin serves.
func (c Client) Version(ctx context.Context) (uint32, error) {
	var resp wrappers.UInt32Value
	err := c.Invoke(ctx, fullName("Version"), &empty.Empty{}, &resp)
	return resp.GetValue(), err
}

// Print calls Print of the plugin.
func (c Client) Print(ctx context.Context, text string) error {
	return c.Invoke(ctx, fullName("Print"), &wrappers.StringValue{Value: text}, &empty.Empty{})
}

// Log calls Log of the plugin.
func (c Client) Log(ctx context.Context, text string) error {
	return c.Invoke(ctx, fullName("Log"), &wrappers.StringValue{Value: text}, &empty.Empty{})
}

// CallHost calls CallHost of the plugin.
func (c Client) CallHost(ctx context.Context, id uint32) (string, error) {
	var resp wrappers.StringValue
	err := c.Invoke(ctx, fullName("CallHost"), &wrappers.UInt32Value{Value: id}, &resp)
	return resp.GetValue(), err
}

// ServeBack calls ServeBack of the plugin.
func (c Client) ServeBack(ctx context.Context) (uint32, error) {
	var resp wrappers.UInt32Value
	err := c.Invoke(ctx, fullName("ServeBack"), &empty.Empty{}, &resp)
	return resp.GetValue(), err
}

// StopServing calls StopServing of the plugin.
func (c Client) StopServing(ctx context.Context, id uint32) error {
	return c.Invoke(ctx, fullName("StopServing"), &wrappers.UInt32Value{Value: id}, &empty.Empty{})
}
