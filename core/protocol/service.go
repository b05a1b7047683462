package protocol

import (
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// Kind says how many messages each side of a method sends.
type Kind int

// The four kinds of gRPC methods.
const (
	Unary Kind = iota + 1
	ServerStreaming
	ClientStreaming
	Bidirectional
)

// String returns gRPC's usual name of the kind, for example "server-streaming".
func (k Kind) String() string {
	switch k {
	case Unary:
		return "unary"
	case ServerStreaming:
		return "server-streaming"
	case ClientStreaming:
		return "client-streaming"
	case Bidirectional:
		return "bidirectional"
	default:
		return fmt.Sprintf("Kind(%d)", int(k))
	}
}

// Service describes one service of a protocol.
type Service struct {
	// Name is the full name, "package.Service".
	Name string
	// File is the path of the .proto file as protoc was given it. It is empty for a
	// service that was not generated from one.
	File string
	// Optional is set for a service that a plugin may leave unbound
	// ([Protocol.Optional]).
	Optional bool
	// Methods are the unary methods and then the streaming methods, each in the
	// order of the .proto file.
	Methods []Method
}

// Method describes one method of a service.
type Method struct {
	// FullName is the name on the wire, "/package.Service/Method".
	FullName string
	// Kind is read from grpc's description of the service.
	Kind Kind
}

// Descriptor returns protobuf's descriptor of the service. It leads to the messages
// of each method, and to the whole file (ParentFile), from which
// google.golang.org/protobuf/reflect/protodesc makes a FileDescriptorProto.
//
// Generated code registers the descriptor when the program starts. The result is nil
// if no generated code for the service is part of this program.
func (s Service) Descriptor() protoreflect.ServiceDescriptor {
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(s.Name))
	if err != nil {
		return nil
	}
	service, _ := d.(protoreflect.ServiceDescriptor)
	return service
}

// describe returns what grpc's description says about a service.
func describe(d *grpc.ServiceDesc, optional bool) Service {
	s := Service{Name: d.ServiceName, Optional: optional, Methods: make([]Method, 0, len(d.Methods)+len(d.Streams))}
	s.File, _ = d.Metadata.(string)
	for i := range d.Methods {
		s.Methods = append(s.Methods, Method{FullName: fullName(d, d.Methods[i].MethodName), Kind: Unary})
	}
	for i := range d.Streams {
		s.Methods = append(s.Methods, Method{FullName: fullName(d, d.Streams[i].StreamName), Kind: streamKind(&d.Streams[i])})
	}
	return s
}

func fullName(d *grpc.ServiceDesc, method string) string {
	return "/" + d.ServiceName + "/" + method
}

func streamKind(s *grpc.StreamDesc) Kind {
	switch {
	case s.ServerStreams && s.ClientStreams:
		return Bidirectional
	case s.ClientStreams:
		return ClientStreaming
	default:
		return ServerStreaming
	}
}
