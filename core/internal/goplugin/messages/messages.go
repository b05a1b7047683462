// Package messages describes go-plugin's own services on the wire: their names, messages and
// methods (grpc_controller.go, grpc_stdio.go, grpc_broker.go and internal/plugin there).
// Packages goplugin, broker and stdio implement and call them.
//
// The messages are plain structs, whose tags say how they are encoded. They are never
// registered with protobuf. A program may also link go-plugin, which registers the same
// names, and the registry ends a program at start for that.
package messages

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/emptypb"
)

// ServicePrefix begins the names of go-plugin's services.
const ServicePrefix = "plugin.GRPC"

// Stream is one side's end of a stream of messages: a grpc.ServerStream or a
// grpc.ClientStream.
type Stream interface {
	Context() context.Context
	SendMsg(m any) error
	RecvMsg(m any) error
}

// Controller stops the plugin.
type Controller interface {
	// Shutdown returns when the plugin has stopped, except for this answer. The host then
	// closes the connection.
	Shutdown(ctx context.Context) error
}

const controllerName = ServicePrefix + "Controller"

// RegisterController adds the service plugin.GRPCController.
func RegisterController(r grpc.ServiceRegistrar, c Controller) {
	shutdown := func(srv any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		// plugin.Empty has no fields, so every empty message has its encoding.
		if err := decode(&emptypb.Empty{}); err != nil {
			return nil, err
		}
		return &emptypb.Empty{}, srv.(Controller).Shutdown(ctx)
	}
	r.RegisterService(&grpc.ServiceDesc{
		ServiceName: controllerName,
		HandlerType: (*Controller)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Shutdown", Handler: shutdown}},
	}, c)
}

// Shutdown asks a plugin to stop.
func Shutdown(ctx context.Context, cc grpc.ClientConnInterface) error {
	return cc.Invoke(ctx, "/"+controllerName+"/Shutdown", &emptypb.Empty{}, &emptypb.Empty{})
}

// Channel is the standard stream that the plugin printed to.
type Channel int32

// The channels. go-plugin never sends 0.
const (
	Stdout Channel = 1
	Stderr Channel = 2
)

// StdioData is the message plugin.StdioData: a piece of the plugin's output.
type StdioData struct {
	Channel Channel `protobuf:"varint,1,opt,name=channel,proto3"`
	Data    []byte  `protobuf:"bytes,2,opt,name=data,proto3"`
}

// Stdio sends what the plugin prints to a host.
type Stdio interface {
	// Stream sends to s until its context ends.
	Stream(s Stream) error
}

const stdioName = ServicePrefix + "Stdio"

var stdioStream = grpc.StreamDesc{StreamName: "StreamStdio", ServerStreams: true}

// RegisterStdio adds the service plugin.GRPCStdio.
func RegisterStdio(r grpc.ServiceRegistrar, s Stdio) {
	desc := stdioStream
	desc.Handler = func(srv any, ss grpc.ServerStream) error {
		if err := ss.RecvMsg(&emptypb.Empty{}); err != nil {
			return err
		}
		return srv.(Stdio).Stream(ss)
	}
	r.RegisterService(&grpc.ServiceDesc{ServiceName: stdioName, HandlerType: (*Stdio)(nil), Streams: []grpc.StreamDesc{desc}}, s)
}

// StreamStdio opens the stream of what the plugin prints: messages of type [StdioData].
func StreamStdio(ctx context.Context, cc grpc.ClientConnInterface, opts ...grpc.CallOption) (Stream, error) {
	s, err := cc.NewStream(ctx, &stdioStream, "/"+stdioName+"/"+stdioStream.StreamName, opts...)
	if err != nil {
		return nil, err
	}
	if err := s.SendMsg(&emptypb.Empty{}); err != nil {
		return nil, err
	}
	return s, s.CloseSend()
}

// ConnInfo is the message plugin.ConnInfo. Without a knock it says where the sender listens
// for connections with this id.
type ConnInfo struct {
	ServiceID uint32 `protobuf:"varint,1,opt,name=service_id,json=serviceId,proto3"`
	Network   string `protobuf:"bytes,2,opt,name=network,proto3"`
	Address   string `protobuf:"bytes,3,opt,name=address,proto3"`
	Knock     *Knock `protobuf:"bytes,4,opt,name=knock,proto3"`
}

// Knock is the message plugin.ConnInfo.Knock, for the multiplexed mode. A side that opens a
// stream sends a knock first, and waits for the acknowledgement.
type Knock struct {
	Knock bool   `protobuf:"varint,1,opt,name=knock,proto3"` // always true
	Ack   bool   `protobuf:"varint,2,opt,name=ack,proto3"`   // set in the answer to a knock
	Error string `protobuf:"bytes,3,opt,name=error,proto3"`  // in an answer, why the stream is refused
}

// Broker exchanges ConnInfo.
type Broker interface {
	// Exchange sends to and receives from s until its context ends.
	Exchange(s Stream) error
}

const brokerName = ServicePrefix + "Broker"

var brokerStream = grpc.StreamDesc{StreamName: "StartStream", ClientStreams: true, ServerStreams: true}

// RegisterBroker adds the service plugin.GRPCBroker.
func RegisterBroker(r grpc.ServiceRegistrar, b Broker) {
	desc := brokerStream
	desc.Handler = func(srv any, ss grpc.ServerStream) error { return srv.(Broker).Exchange(ss) }
	r.RegisterService(&grpc.ServiceDesc{ServiceName: brokerName, HandlerType: (*Broker)(nil), Streams: []grpc.StreamDesc{desc}}, b)
}

// StartStream opens the stream that carries messages of type [ConnInfo] both ways.
func StartStream(ctx context.Context, cc grpc.ClientConnInterface, opts ...grpc.CallOption) (Stream, error) {
	return cc.NewStream(ctx, &brokerStream, "/"+brokerName+"/"+brokerStream.StreamName, opts...)
}

// protobuf needs the methods below.
var (
	_ protoadapt.MessageV1 = (*StdioData)(nil)
	_ protoadapt.MessageV1 = (*ConnInfo)(nil)
	_ protoadapt.MessageV1 = (*Knock)(nil)
)

// Reset implements [protoadapt.MessageV1].
func (m *StdioData) Reset() { *m = StdioData{} }

// String implements [protoadapt.MessageV1].
func (m *StdioData) String() string {
	return fmt.Sprintf("channel %d: %d bytes", m.Channel, len(m.Data))
}

// ProtoMessage implements [protoadapt.MessageV1].
func (*StdioData) ProtoMessage() {}

// Reset implements [protoadapt.MessageV1].
func (m *ConnInfo) Reset() { *m = ConnInfo{} }

// String implements [protoadapt.MessageV1].
func (m *ConnInfo) String() string {
	if m.Knock != nil {
		return fmt.Sprintf("id %d: %v", m.ServiceID, m.Knock)
	}
	return fmt.Sprintf("id %d: %.64q at %.256q", m.ServiceID, m.Network, m.Address)
}

// ProtoMessage implements [protoadapt.MessageV1].
func (*ConnInfo) ProtoMessage() {}

// Reset implements [protoadapt.MessageV1].
func (m *Knock) Reset() { *m = Knock{} }

// String implements [protoadapt.MessageV1].
func (m *Knock) String() string {
	return fmt.Sprintf("knock %t, ack %t, error %.256q", m.Knock, m.Ack, m.Error)
}

// ProtoMessage implements [protoadapt.MessageV1].
func (*Knock) ProtoMessage() {}
