package glue

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// baseName returns what the names of the protocol's identifiers begin with: the
// service's name, or that of the protocol if there are several services.
func baseName(file *protogen.File, g *group) string {
	if len(g.services) == 1 {
		return g.services[0].GoName
	}
	last := g.Name[strings.LastIndex(g.Name, ".")+1:]
	parts := strings.FieldsFunc(last, func(r rune) bool { return r == '-' || r == '_' })
	for i, part := range parts {
		parts[i] = strings.ToUpper(part[:1]) + part[1:]
	}
	base := strings.Join(parts, "")
	if base == "" || base[0] >= '0' && base[0] <= '9' {
		base = "Protocol" + base
	}
	if g.Version > 1 && !strings.HasSuffix(string(file.Desc.Package()), fmt.Sprintf(".v%d", g.Version)) {
		base += fmt.Sprintf("V%d", g.Version)
	}
	for _, s := range file.Services {
		if s.GoName == base {
			return base + "Services"
		}
	}
	return base
}

func protocolName(base string) string { return base + "Protocol" }

func handlerName(base string) string { return base + "Handler" }

func serveName(base string) string { return "Serve" + base }

func adaptorName(s *protogen.Service) string { return unexported(s.GoName) + "Adaptor" }

// unsafeName is what protoc-gen-go-grpc calls the interface that an adaptor
// embeds.
func unsafeName(s *protogen.Service) string { return "Unsafe" + s.GoName + "Server" }

func unexported(name string) string { return strings.ToLower(name[:1]) + name[1:] }

// names says what each identifier of a Go package is declared by.
type names map[string]string

// checkNames returns an error if what is generated for services would not
// compile, as two things in a Go package have the same name.
func checkNames(files []*protogen.File, protocols map[*protogen.File][]*group) error {
	packages := make(map[protogen.GoImportPath]names)
	for _, file := range files {
		declared := packages[file.GoImportPath]
		if declared == nil {
			declared = make(names)
			packages[file.GoImportPath] = declared
		}
		declared.enums(file.Enums)
		declared.messages(file.Messages)
	}
	for _, file := range files {
		declared := packages[file.GoImportPath]
		for _, g := range protocols[file] {
			for _, s := range g.services {
				if err := declared.service(s); err != nil {
					return err
				}
			}
			base := baseName(file, g)
			owned := []string{protocolName(base)}
			if len(g.services) > 1 && !collision(g) {
				owned = append(owned, handlerName(base), serveName(base))
			}
			if err := declared.add(g.services[0].Desc, "protocol "+g.String(), owned...); err != nil {
				return err
			}
		}
	}
	return nil
}

func (n names) enums(enums []*protogen.Enum) {
	for _, e := range enums {
		n[e.GoIdent.GoName] = "enum " + string(e.Desc.FullName())
		for _, v := range e.Values {
			n[v.GoIdent.GoName] = "value " + string(v.Desc.FullName())
		}
	}
}

func (n names) messages(messages []*protogen.Message) {
	for _, m := range messages {
		n[m.GoIdent.GoName] = "message " + string(m.Desc.FullName())
		for _, f := range m.Fields {
			if f.Oneof != nil {
				n[f.GoIdent.GoName] = "field " + string(f.Desc.FullName())
			}
		}
		n.enums(m.Enums)
		n.messages(m.Messages)
	}
}

// service adds what this generator and protoc-gen-go-grpc declare for a service.
func (n names) service(s *protogen.Service) error {
	name := s.GoName
	identifiers := []string{
		handlerName(name), serveName(name), adaptorName(s),
		name + "Client", "New" + name + "Client", unexported(name) + "Client",
		name + "Server", "Unimplemented" + name + "Server", unsafeName(s), "Register" + name + "Server", name + "_ServiceDesc",
	}
	methods := names{
		// The adaptor has fields of these names, which would hide the methods.
		handlerName(name): "the handler's interface", unsafeName(s): "an interface in it",
	}
	for _, m := range s.Methods {
		if owner, ok := methods[m.GoName]; ok {
			return sameName(m.Desc, "method "+string(m.Desc.FullName()), m.GoName, owner)
		}
		methods[m.GoName] = "method " + string(m.Desc.FullName())
		identifiers = append(identifiers, name+"_"+m.GoName+"_FullMethodName")
		if m.Desc.IsStreamingClient() || m.Desc.IsStreamingServer() {
			identifiers = append(identifiers, name+"_"+m.GoName+"Client", name+"_"+m.GoName+"Server")
		}
	}
	return n.add(s.Desc, "service "+string(s.Desc.FullName()), identifiers...)
}

// add adds what an owner declares.
func (n names) add(at protoreflect.Descriptor, owner string, identifiers ...string) error {
	for _, name := range identifiers {
		if other, ok := n[name]; ok {
			return sameName(at, owner, name, other)
		}
		n[name] = owner
	}
	return nil
}

func sameName(at protoreflect.Descriptor, owner, name, other string) error {
	return newError(at, fmt.Sprintf("%s: the Go name %s is generated for it, and for %s: rename one of them", owner, name, other))
}
