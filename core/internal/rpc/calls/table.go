package calls

import (
	"strings"

	"google.golang.org/grpc"
)

// Table is a [Registrar] for a wire that has no server of its own. It is filled before
// the first call, and only read after that. The zero value is ready to use.
type Table struct {
	methods  map[string]Method
	services map[string]grpc.ServiceInfo
}

// Method is one method of a service. Either Unary or Stream is set.
type Method struct {
	Service any // what the handlers are called with
	Unary   grpc.MethodHandler
	Stream  *grpc.StreamDesc
}

var _ Registrar = (*Table)(nil)

// RegisterService implements [grpc.ServiceRegistrar].
func (t *Table) RegisterService(desc *grpc.ServiceDesc, handler any) {
	if t.methods == nil {
		t.methods, t.services = make(map[string]Method), make(map[string]grpc.ServiceInfo)
	}
	info := grpc.ServiceInfo{Metadata: desc.Metadata}
	for i := range desc.Methods {
		m := &desc.Methods[i]
		t.methods[desc.ServiceName+"/"+m.MethodName] = Method{Service: handler, Unary: m.Handler}
		info.Methods = append(info.Methods, grpc.MethodInfo{Name: m.MethodName})
	}
	for i := range desc.Streams {
		s := &desc.Streams[i]
		t.methods[desc.ServiceName+"/"+s.StreamName] = Method{Service: handler, Stream: s}
		info.Methods = append(info.Methods, grpc.MethodInfo{Name: s.StreamName, IsClientStream: s.ClientStreams, IsServerStream: s.ServerStreams})
	}
	t.services[desc.ServiceName] = info
}

// GetServiceInfo implements [Registrar].
func (t *Table) GetServiceInfo() map[string]grpc.ServiceInfo { return t.services }

// Method returns the method with that full name, such as /service/method.
func (t *Table) Method(fullMethod string) (Method, bool) {
	m, ok := t.methods[strings.TrimPrefix(fullMethod, "/")]
	return m, ok
}
