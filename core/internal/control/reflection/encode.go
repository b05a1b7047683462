package reflection

import (
	"bytes"
	"compress/gzip"
	"io"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// encodeFile returns a google.protobuf.FileDescriptorProto (google/protobuf/descriptor.proto).
// Generated code holds that of its own file. A file without messages and enums is
// encoded from what protobuf has decoded, and so is one that was made while the program
// runs.
//
// Such a file has the options that its author has set only in a program that links package
// descriptorpb, because protobuf decodes no options without that package. The generated code of
// every file with options of its own imports that package.
func encodeFile(f protoreflect.FileDescriptor) []byte {
	if raw := generated(f); raw != nil {
		return raw
	}
	var e encoder
	e.file(f)
	return e
}

// generated returns the descriptor that the generated code of a file holds. It returns nil
// if there is none.
func generated(f protoreflect.FileDescriptor) []byte {
	var compressed []byte
	if messages := f.Messages(); messages.Len() > 0 {
		if t, err := protoregistry.GlobalTypes.FindMessageByName(messages.Get(0).FullName()); err == nil {
			if m, ok := t.Zero().Interface().(interface{ Descriptor() ([]byte, []int) }); ok {
				compressed, _ = m.Descriptor()
			}
		}
	} else if enums := f.Enums(); enums.Len() > 0 {
		if t, err := protoregistry.GlobalTypes.FindEnumByName(enums.Get(0).FullName()); err == nil {
			if e, ok := t.New(0).(interface{ EnumDescriptor() ([]byte, []int) }); ok {
				compressed, _ = e.EnumDescriptor()
			}
		}
	}
	r, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		return nil
	}
	raw, err := io.ReadAll(r)
	if err != nil {
		return nil
	}
	return raw
}

// encoder appends the fields of a message. The numbers are those of descriptor.proto.
type encoder []byte

func (e *encoder) string(number protowire.Number, s string) {
	*e = protowire.AppendString(protowire.AppendTag(*e, number, protowire.BytesType), s)
}

func (e *encoder) name(number protowire.Number, name protoreflect.Name) {
	e.string(number, string(name))
}

func (e *encoder) int(number protowire.Number, n int) {
	*e = protowire.AppendVarint(protowire.AppendTag(*e, number, protowire.VarintType), uint64(n)) //nolint:gosec // as protobuf encodes negative numbers
}

// flag appends a field only if it is set.
func (e *encoder) flag(number protowire.Number, set bool) {
	if set {
		e.int(number, 1)
	}
}

// message appends a message that add encodes.
func (e *encoder) message(number protowire.Number, add func(*encoder)) {
	var m encoder
	add(&m)
	*e = protowire.AppendBytes(protowire.AppendTag(*e, number, protowire.BytesType), m)
}

// fullName appends the name of a type, if there is one.
func (e *encoder) fullName(number protowire.Number, d protoreflect.Descriptor) {
	name := string(d.FullName())
	if unknown, ok := strings.CutPrefix(name, "*."); ok { // an import that is not linked
		e.string(number, unknown)
		return
	}
	e.string(number, "."+name)
}

// options appends options, if protobuf has decoded any.
func (e *encoder) options(number protowire.Number, options proto.Message) {
	if !isSet(options) {
		return
	}
	if raw, err := proto.Marshal(options); err == nil {
		*e = protowire.AppendBytes(protowire.AppendTag(*e, number, protowire.BytesType), raw)
	}
}

// isSet reports whether protobuf has decoded options.
func isSet(options proto.Message) bool {
	return options != nil && options.ProtoReflect().IsValid()
}

func (e *encoder) file(f protoreflect.FileDescriptor) {
	e.string(1, f.Path())
	if f.Package() != "" {
		e.string(2, string(f.Package()))
	}
	for i, imports := 0, f.Imports(); i < imports.Len(); i++ {
		e.string(3, imports.Get(i).Path())
		if imports.Get(i).IsPublic {
			e.int(10, i)
		}
	}
	for i, messages := 0, f.Messages(); i < messages.Len(); i++ {
		e.message(4, func(e *encoder) { e.descriptor(messages.Get(i)) })
	}
	for i, enums := 0, f.Enums(); i < enums.Len(); i++ {
		e.message(5, func(e *encoder) { e.enum(enums.Get(i)) })
	}
	for i, services := 0, f.Services(); i < services.Len(); i++ {
		e.message(6, func(e *encoder) { e.service(services.Get(i)) })
	}
	for i, extensions := 0, f.Extensions(); i < extensions.Len(); i++ {
		e.message(7, func(e *encoder) { e.field(extensions.Get(i)) })
	}
	e.options(8, f.Options())
	switch f.Syntax() {
	case protoreflect.Proto2: // needs no word
	case protoreflect.Proto3:
		e.string(12, "proto3")
	case protoreflect.Editions:
		e.string(12, "editions")
		if edition, ok := f.(interface{ Edition() int32 }); ok {
			e.int(14, int(edition.Edition()))
		}
	}
	if f, ok := f.(interface {
		OptionImports() protoreflect.FileImports
	}); ok {
		for i, imports := 0, f.OptionImports(); i < imports.Len(); i++ {
			e.string(15, imports.Get(i).Path())
		}
	}
}

func (e *encoder) service(s protoreflect.ServiceDescriptor) {
	e.name(1, s.Name())
	for i, methods := 0, s.Methods(); i < methods.Len(); i++ {
		m := methods.Get(i)
		e.message(2, func(e *encoder) {
			e.name(1, m.Name())
			e.fullName(2, m.Input())
			e.fullName(3, m.Output())
			e.options(4, m.Options())
			e.flag(5, m.IsStreamingClient())
			e.flag(6, m.IsStreamingServer())
		})
	}
	e.options(3, s.Options())
}

func (e *encoder) enum(d protoreflect.EnumDescriptor) {
	e.name(1, d.Name())
	for i, values := 0, d.Values(); i < values.Len(); i++ {
		v := values.Get(i)
		e.message(2, func(e *encoder) {
			e.name(1, v.Name())
			e.int(2, int(v.Number()))
			e.options(3, v.Options())
		})
	}
	e.options(3, d.Options())
	for i, ranges := 0, d.ReservedRanges(); i < ranges.Len(); i++ {
		r := ranges.Get(i)
		e.message(4, func(e *encoder) { e.span(int(r[0]), int(r[1])) })
	}
	for i, names := 0, d.ReservedNames(); i < names.Len(); i++ {
		e.name(5, names.Get(i))
	}
	e.visibility(6, d)
}

// span appends both ends of a range.
func (e *encoder) span(start, end int) {
	e.int(1, start)
	e.int(2, end)
}

// visibility appends how far a type can be seen, if its author has said so.
func (e *encoder) visibility(number protowire.Number, d protoreflect.Descriptor) {
	if d, ok := d.(interface{ Visibility() int32 }); ok && d.Visibility() > 0 {
		e.int(number, int(d.Visibility()))
	}
}
