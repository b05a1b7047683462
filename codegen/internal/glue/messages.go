package glue

import (
	"iter"
	"strings"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/types/gofeaturespb"
)

// This file knows which names protoc-gen-go declares. protoc-gen-go resolves some
// clashes of names itself. The other clashes are errors of the Go compiler.

// declareFile adds the names that protoc-gen-go declares for a file, without names for
// its imports.
func (s *scope) declareFile(file *protogen.File) {
	s.declare(file.GoDescriptorIdent.GoName, "file", file.Desc)
	s.declareEnums(file.Enums)
	s.declareMessages(file.Messages)
	s.declareExtensions(file.Extensions)
}

// declarePublicImports adds the names that protoc-gen-go declares for public imports:
// aliases of all exported names of the imported file.
func (s *scope) declarePublicImports(plugin *protogen.Plugin, file *protogen.File) {
	for imported, at := range publicImports(plugin, file) {
		theirs := newScope(func(string, declaration, declaration) {}) // a clash there is a mistake of the other package
		theirs.declareFile(imported)
		for name := range theirs.names {
			if exported(name) && name != imported.GoDescriptorIdent.GoName {
				s.add(name, declaration{"public import of", imported.Desc, at})
			}
		}
	}
}

// publicImports returns the files of other Go packages that a file imports publicly,
// with the place of the import.
func publicImports(plugin *protogen.Plugin, file *protogen.File) iter.Seq2[*protogen.File, Place] {
	return func(yield func(*protogen.File, Place) bool) {
		list := file.Desc.Imports()
		for i := range list.Len() {
			imported := plugin.FilesByPath[list.Get(i).Path()]
			if !list.Get(i).IsPublic || imported == nil || imported.GoImportPath == file.GoImportPath {
				continue
			}
			at := placeAt(file.Desc, dependency, int32(i))
			if !yield(imported, at) {
				return
			}
		}
	}
}

func exported(name string) bool { return name[0] >= 'A' && name[0] <= 'Z' }

func (s *scope) declareEnums(enums []*protogen.Enum) {
	for _, e := range enums {
		s.declare(e.GoIdent.GoName, "enum", e.Desc)
		s.declare(e.GoIdent.GoName+"_name", "map of the names of enum", e.Desc)
		s.declare(e.GoIdent.GoName+"_value", "map of the values of enum", e.Desc)
		for _, v := range e.Values {
			s.declare(v.GoIdent.GoName, "enum value", v.Desc)
			if alias := v.PrefixedAlias.GoName; alias != "" && alias != v.GoIdent.GoName {
				s.declare(alias, "enum value", v.Desc)
			}
		}
	}
}

func (s *scope) declareExtensions(extensions []*protogen.Extension) {
	for _, x := range extensions {
		s.declare("E_"+x.GoIdent.GoName, "extension", x.Desc)
	}
}

func (s *scope) declareMessages(messages []*protogen.Message) {
	for _, m := range messages {
		if m.Desc.IsMapEntry() {
			continue
		}
		s.declareMessage(m)
		s.declareEnums(m.Enums)
		s.declareMessages(m.Messages)
		s.declareExtensions(m.Extensions)
	}
}

func (s *scope) declareMessage(m *protogen.Message) {
	name := m.GoIdent.GoName
	s.declare(name, "message", m.Desc)
	for _, f := range m.Fields {
		if f.Desc.HasDefault() {
			s.declare("Default_"+name+"_"+f.GoName, "default of field", f.Desc)
		}
	}
	open := isOpen(m)
	if !open {
		s.declare(name+"_builder", "builder of message", m.Desc)
	}
	for _, o := range m.Oneofs {
		if o.Desc.IsSynthetic() {
			continue
		}
		s.declare("is"+name+"_"+o.GoName, "oneof", o.Desc)
		if !open {
			s.declare("case_"+name+"_"+o.GoName, "cases of oneof", o.Desc)
			s.declare(name+"_"+o.GoName+"_not_set_case", "cases of oneof", o.Desc)
		}
		for _, f := range o.Fields {
			wrapper := f.GoIdent.GoName
			if m.APILevel == gofeaturespb.GoFeatures_API_OPAQUE {
				wrapper = strings.ToLower(wrapper[:1]) + wrapper[1:]
			}
			s.declare(wrapper, "field", f.Desc)
			if !open {
				s.declare(name+"_"+f.GoName+"_case", "case of field", f.Desc)
			}
		}
	}
	s.checkMembers(m)
}

// isOpen reports whether a message has the open API. The hybrid and the opaque API have
// more methods, and builders.
func isOpen(m *protogen.Message) bool {
	return m.APILevel != gofeaturespb.GoFeatures_API_OPAQUE && m.APILevel != gofeaturespb.GoFeatures_API_HYBRID
}

// checkMembers reports clashes among the fields and methods of a message's struct.
func (s *scope) checkMembers(m *protogen.Message) {
	members := newScope(func(name string, first, second declaration) {
		s.reported(m.GoIdent.GoName+"."+name, first, second)
	})
	for _, name := range []string{"Reset", "String", "ProtoMessage", "ProtoReflect", "Descriptor"} {
		members.declare(name, "method of message", m.Desc)
	}
	opaque := m.APILevel == gofeaturespb.GoFeatures_API_OPAQUE
	for _, f := range m.Fields {
		o := f.Oneof
		if o != nil && o.Desc.IsSynthetic() {
			o = nil
		}
		switch {
		case opaque: // the names of fields cannot clash with those of methods
		case o == nil:
			members.declare(f.GoName, "field", f.Desc)
		case o.Fields[0] == f:
			members.declare(o.GoName, "oneof", o.Desc)
			members.declare("Get"+o.GoName, "oneof", o.Desc)
		}
		verbs, oneofVerbs := []string{"Get"}, []string(nil)
		if !isOpen(m) {
			verbs, oneofVerbs = []string{"Get", "Set"}, []string{"Has", "Clear", "Which"}
			if f.Desc.HasPresence() {
				verbs = append(verbs, "Has", "Clear")
			}
		}
		for _, verb := range verbs {
			name, old := f.MethodName(verb)
			members.declare(name, "field", f.Desc)
			if old != "" {
				members.declare(old, "field", f.Desc)
			}
		}
		if o != nil && o.Fields[0] == f {
			for _, verb := range oneofVerbs {
				members.declare(o.MethodName(verb), "oneof", o.Desc)
			}
		}
	}
	if isOpen(m) {
		return
	}
	builder := newScope(func(name string, first, second declaration) {
		s.reported(m.GoIdent.GoName+"_builder."+name, first, second)
	})
	builder.declare("Build", "method of message", m.Desc)
	for _, f := range m.Fields {
		builder.declare(f.BuilderFieldName(), "field", f.Desc)
	}
}

// importsOf returns the names under which the code of protoc-gen-go imports the Go
// packages that a file uses. It calls hidden for each enum field if a variable hides the
// package name of the enum.
func importsOf(plugin *protogen.Plugin, file *protogen.File, hidden func(f *protogen.Field)) *imports {
	found := newImports()
	use := func(ident protogen.GoIdent) string {
		if ident.GoImportPath == file.GoImportPath {
			return ""
		}
		return found.use(ident.GoImportPath)
	}
	for imported := range publicImports(plugin, file) {
		use(imported.GoDescriptorIdent)
	}
	field := func(f *protogen.Field) {
		if f.Message != nil {
			use(f.Message.GoIdent)
		}
		if f.Enum == nil {
			return
		}
		// A getter has a receiver x, and its last line uses the enum's zero value.
		if name := use(f.Enum.GoIdent); name == "x" && f.Extendee == nil && !f.Desc.IsList() && !f.Desc.HasDefault() && !f.Parent.Desc.IsMapEntry() {
			hidden(f)
		}
	}
	extensions := func(list []*protogen.Extension) {
		for _, x := range list {
			use(x.Extendee.GoIdent)
			field(x)
		}
	}
	var messages func(list []*protogen.Message)
	messages = func(list []*protogen.Message) {
		for _, m := range list {
			for _, f := range m.Fields {
				field(f)
			}
			messages(m.Messages)
			extensions(m.Extensions)
		}
	}
	messages(file.Messages)
	extensions(file.Extensions)
	for _, s := range file.Services {
		for _, m := range s.Methods {
			use(m.Input.GoIdent)
			use(m.Output.GoIdent)
		}
	}
	return found
}
