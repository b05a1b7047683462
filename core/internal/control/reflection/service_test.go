package reflection

import (
	"io"
	"slices"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/reflection"
	v1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
)

// stream is a stream whose client has sent all its requests.
type stream struct {
	grpc.ServerStream
	requests  []*v1.ServerReflectionRequest
	responses []*v1.ServerReflectionResponse
}

// Recv implements [grpc.BidiStreamingServer].
func (s *stream) Recv() (*v1.ServerReflectionRequest, error) {
	if len(s.requests) == 0 {
		return nil, io.EOF
	}
	next := s.requests[0]
	s.requests = s.requests[1:]
	return next, nil
}

// Send implements [grpc.BidiStreamingServer].
func (s *stream) Send(r *v1.ServerReflectionResponse) error {
	s.responses = append(s.responses, r)
	return nil
}

type names map[string]grpc.ServiceInfo

func (n names) GetServiceInfo() map[string]grpc.ServiceInfo { return n }

// The service answers as gRPC's own does.
func TestAnswersAsGRPC(t *testing.T) {
	t.Parallel()
	file := func(name string) *v1.ServerReflectionRequest {
		return &v1.ServerReflectionRequest{MessageRequest: &v1.ServerReflectionRequest_FileByFilename{FileByFilename: name}}
	}
	symbol := func(name string) *v1.ServerReflectionRequest {
		return &v1.ServerReflectionRequest{MessageRequest: &v1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: name}}
	}
	extension := func(of string, number int32) *v1.ServerReflectionRequest {
		return &v1.ServerReflectionRequest{MessageRequest: &v1.ServerReflectionRequest_FileContainingExtension{
			FileContainingExtension: &v1.ExtensionRequest{ContainingType: of, ExtensionNumber: number},
		}}
	}
	extensions := func(of string) *v1.ServerReflectionRequest {
		return &v1.ServerReflectionRequest{MessageRequest: &v1.ServerReflectionRequest_AllExtensionNumbersOfType{AllExtensionNumbersOfType: of}}
	}
	requests := []*v1.ServerReflectionRequest{
		{Host: "h", MessageRequest: &v1.ServerReflectionRequest_ListServices{ListServices: "*"}},
		symbol("grpc.reflection.v1.ServerReflection"),
		symbol("grpc.reflection.v1.ServerReflection.ServerReflectionInfo"),
		symbol("no.such.Symbol"),
		symbol(""),
		file("google/protobuf/go_features.proto"), // imports descriptor.proto
		file("google/protobuf/descriptor.proto"),  // sent before, and asked for
		file("google/protobuf/go_features.proto"),
		file("no/such.proto"),
		extension("google.protobuf.FeatureSet", 1002),
		extension("google.protobuf.FeatureSet", 1),
		extensions("google.protobuf.FeatureSet"),
		extensions("google.protobuf.FileOptions"),
		extensions("no.such.Message"),
	}
	services := names{"b.B": {}, "a.A": {}}
	ours, grpcs := &stream{requests: slices.Clone(requests)}, &stream{requests: slices.Clone(requests)}
	if err := (&server{services: services}).ServerReflectionInfo(ours); err != nil {
		t.Fatal(err)
	}
	if err := reflection.NewServerV1(reflection.ServerOptions{Services: services}).ServerReflectionInfo(grpcs); err != nil {
		t.Fatal(err)
	}
	for i, want := range grpcs.responses {
		got := ours.responses[i]
		var gotFiles, wantFiles []*descriptorpb.FileDescriptorProto
		for _, raw := range got.GetFileDescriptorResponse().GetFileDescriptorProto() {
			gotFiles = append(gotFiles, decode(t, raw))
		}
		for _, raw := range want.GetFileDescriptorResponse().GetFileDescriptorProto() {
			wantFiles = append(wantFiles, decode(t, raw))
		}
		same := slices.EqualFunc(gotFiles, wantFiles, func(a, b *descriptorpb.FileDescriptorProto) bool { return proto.Equal(a, b) })
		if wantFiles != nil { // each may have its own order of fields
			got.MessageResponse, want.MessageResponse = nil, nil
		}
		if !same || !proto.Equal(got, want) {
			t.Errorf("%v:\n%v %v\nwant\n%v %v", requests[i], got, gotFiles, want, wantFiles)
		}
	}
}

// A request that asks for nothing ends the stream.
func TestEmptyRequest(t *testing.T) {
	t.Parallel()
	s := &stream{requests: []*v1.ServerReflectionRequest{{}}}
	if err := (&server{services: names{}}).ServerReflectionInfo(s); status.Code(err) != codes.InvalidArgument {
		t.Errorf("%v, want %v", err, codes.InvalidArgument)
	}
}
