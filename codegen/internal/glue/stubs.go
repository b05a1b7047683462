package glue

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/compiler/protogen"
)

// This file knows which names protoc-gen-go-grpc declares.

// declareStubs adds the names that protoc-gen-go-grpc declares for a service.
func (s *scope) declareStubs(service *protogen.Service) {
	name := service.GoName
	for _, ident := range []string{
		name + "Client", "New" + name + "Client", unexported(name) + "Client",
		name + "Server", "Unimplemented" + name + "Server", "Unsafe" + name + "Server", "Register" + name + "Server", name + "_ServiceDesc",
	} {
		s.declare(ident, "service", service.Desc)
	}
	methods := newScope(func(method string, first, second declaration) {
		s.reported(name+"Client."+method, first, second)
	})
	for _, m := range service.Methods {
		methods.declare(m.GoName, "method", m.Desc)
		if methods.names[m.GoName].of != m.Desc {
			continue // the clash is reported already
		}
		s.declare(name+"_"+m.GoName+"_FullMethodName", "method", m.Desc)
		s.declare("_"+name+"_"+m.GoName+"_Handler", "method", m.Desc)
		if m.Desc.IsStreamingClient() || m.Desc.IsStreamingServer() {
			s.declare(name+"_"+m.GoName+"Client", "method", m.Desc)
			s.declare(name+"_"+m.GoName+"Server", "method", m.Desc)
		}
	}
}

func unexported(name string) string { return strings.ToLower(name[:1]) + name[1:] }

// stubImports returns the names under which the code of protoc-gen-go-grpc imports
// packages. It calls hidden for each method and message if a variable hides the package
// name of the message.
func stubImports(file *protogen.File, hidden func(*protogen.Method, *protogen.Message)) *imports {
	found := newImports()
	found.use(grpcPackage)
	use := func(m *protogen.Message) string {
		if m.GoIdent.GoImportPath == file.GoImportPath {
			return ""
		}
		return found.use(m.GoIdent.GoImportPath)
	}
	for _, service := range file.Services {
		for _, m := range service.Methods { // the order of the code decides about names
			found.use(contextPackage)
			use(m.Input)
			use(m.Output)
		}
		if len(service.Methods) > 0 {
			found.use("google.golang.org/grpc/status")
			found.use("google.golang.org/grpc/codes")
		}
		for _, m := range service.Methods {
			in, out := variables(m)
			if slices.Contains(in, use(m.Input)) {
				hidden(m, m.Input)
			}
			if slices.Contains(out, use(m.Output)) {
				hidden(m, m.Output)
			}
		}
	}
	return found
}

// variables returns the variables of functions in the code of protoc-gen-go-grpc: of
// those that use the type of a method's input, and of those that use its output's.
func variables(m *protogen.Method) (input, output []string) {
	stream := []string{"c", "ctx", "opts", "cOpts", "stream", "err", "srv"}
	switch {
	case m.Desc.IsStreamingClient():
		return stream, stream
	case m.Desc.IsStreamingServer():
		stream = append(stream, "in", "m")
		return stream, stream
	default:
		return []string{"srv", "ctx", "dec", "interceptor", "in", "info", "req"}, []string{"c", "ctx", "in", "opts", "cOpts"}
	}
}
