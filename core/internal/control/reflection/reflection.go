// Package reflection is gRPC's reflection service (grpc.reflection.v1 and v1alpha): tools ask
// it for the services of a plugin and for their descriptors. Begin with [Register].
//
// google.golang.org/grpc/reflection does the same. But it links packages descriptorpb
// and protodesc, which decode tables and register types before main. That costs a third of a
// millisecond and 200 KiB at each start of each plugin, and the service is seldom called. This package does nothing before its first call.
package reflection

import (
	"errors"
	"io"
	"maps"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	v1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	v1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// Services tells which services a server has.
type Services interface {
	GetServiceInfo() map[string]grpc.ServiceInfo
}

// Register adds both versions of the service to r. They list services.
func Register(r grpc.ServiceRegistrar, services Services) {
	s := &server{services: services}
	r.RegisterService(&v1.ServerReflection_ServiceDesc, s)
	// The messages of v1alpha have the same fields with the same numbers as those of v1, so
	// the same handler serves both.
	alpha := v1alpha.ServerReflection_ServiceDesc
	alpha.HandlerType = v1.ServerReflection_ServiceDesc.HandlerType
	alpha.Streams = v1.ServerReflection_ServiceDesc.Streams
	r.RegisterService(&alpha, s)
}

// server implements [v1.ServerReflectionServer].
type server struct {
	v1.UnimplementedServerReflectionServer
	services Services
}

// ServerReflectionInfo implements [v1.ServerReflectionServer].
func (s *server) ServerReflectionInfo(stream v1.ServerReflection_ServerReflectionInfoServer) error {
	sent := make(map[string]bool) // paths of files, which are sent once on each stream
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		resp := &v1.ServerReflectionResponse{ValidHost: req.GetHost(), OriginalRequest: req}
		if err := s.answer(resp, sent); err != nil {
			return err
		}
		if err := stream.Send(resp); err != nil {
			return err
		}
	}
}

// answer adds the answer to the request in resp.
func (s *server) answer(resp *v1.ServerReflectionResponse, sent map[string]bool) error {
	var file protoreflect.FileDescriptor
	var err error
	switch req := resp.GetOriginalRequest().GetMessageRequest().(type) {
	case *v1.ServerReflectionRequest_ListServices:
		resp.MessageResponse = s.list()
		return nil
	case *v1.ServerReflectionRequest_FileByFilename:
		file, err = protoregistry.GlobalFiles.FindFileByPath(req.FileByFilename)
	case *v1.ServerReflectionRequest_FileContainingSymbol:
		var d protoreflect.Descriptor
		if d, err = protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(req.FileContainingSymbol)); err == nil {
			file = d.ParentFile()
		}
	case *v1.ServerReflectionRequest_FileContainingExtension:
		var t protoreflect.ExtensionType
		of := req.FileContainingExtension
		if t, err = protoregistry.GlobalTypes.FindExtensionByNumber(protoreflect.FullName(of.GetContainingType()), protoreflect.FieldNumber(of.GetExtensionNumber())); err == nil {
			file = t.TypeDescriptor().ParentFile()
		}
	case *v1.ServerReflectionRequest_AllExtensionNumbersOfType:
		var extensions *v1.ServerReflectionResponse_AllExtensionNumbersResponse
		if extensions, err = extensionsOf(req.AllExtensionNumbersOfType); err == nil {
			resp.MessageResponse = extensions
			return nil
		}
	default:
		return status.Errorf(codes.InvalidArgument, "the request asks for nothing that this service knows: %T", req)
	}
	if err == nil {
		resp.MessageResponse, err = files(file, sent)
	}
	if err != nil {
		resp.MessageResponse = &v1.ServerReflectionResponse_ErrorResponse{
			ErrorResponse: &v1.ErrorResponse{ErrorCode: int32(codes.NotFound), ErrorMessage: err.Error()},
		}
	}
	return nil
}

func (s *server) list() *v1.ServerReflectionResponse_ListServicesResponse {
	list := new(v1.ListServiceResponse)
	for _, name := range slices.Sorted(maps.Keys(s.services.GetServiceInfo())) {
		list.Service = append(list.Service, &v1.ServiceResponse{Name: name})
	}
	return &v1.ServerReflectionResponse_ListServicesResponse{ListServicesResponse: list}
}

// extensionsOf returns the numbers of the extensions of a message.
func extensionsOf(message string) (*v1.ServerReflectionResponse_AllExtensionNumbersResponse, error) {
	name := protoreflect.FullName(message)
	var numbers []int32
	protoregistry.GlobalTypes.RangeExtensionsByMessage(name, func(t protoreflect.ExtensionType) bool {
		numbers = append(numbers, int32(t.TypeDescriptor().Number()))
		return true
	})
	if len(numbers) == 0 {
		if _, err := protoregistry.GlobalFiles.FindDescriptorByName(name); err != nil {
			return nil, err
		}
	}
	slices.Sort(numbers)
	return &v1.ServerReflectionResponse_AllExtensionNumbersResponse{
		AllExtensionNumbersResponse: &v1.ExtensionNumberResponse{BaseTypeName: message, ExtensionNumber: numbers},
	}, nil
}

// files returns a file, and the files that it imports unless they are in sent.
func files(file protoreflect.FileDescriptor, sent map[string]bool) (*v1.ServerReflectionResponse_FileDescriptorResponse, error) {
	if file.IsPlaceholder() {
		return nil, protoregistry.NotFound
	}
	found := new(v1.FileDescriptorResponse)
	queue := []protoreflect.FileDescriptor{file}
	for i := 0; i < len(queue); i++ {
		f := queue[i]
		if f.IsPlaceholder() || i > 0 && sent[f.Path()] { // the first was asked for
			continue
		}
		sent[f.Path()] = true
		found.FileDescriptorProto = append(found.FileDescriptorProto, encodeFile(f))
		for imports, k := f.Imports(), 0; k < imports.Len(); k++ {
			queue = append(queue, imports.Get(k).FileDescriptor)
		}
	}
	return &v1.ServerReflectionResponse_FileDescriptorResponse{FileDescriptorResponse: found}, nil
}
