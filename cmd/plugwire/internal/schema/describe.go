package schema

import (
	"fmt"
	"strings"

	"github.com/jhump/protoreflect/v2/protoprint"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/plugwire/plugwire/core/protocol"
)

// Service describes a service in JSON.
type Service struct {
	Name    string   `json:"name"`
	Methods []Method `json:"methods"`
	// Undescribed is set if the plugin's reflection does not describe the methods.
	Undescribed bool `json:"undescribed,omitempty"`
}

// Method describes a method in JSON.
type Method struct {
	Name   string `json:"name"`
	Kind   string `json:"kind"`
	Input  string `json:"input"`
	Output string `json:"output"`
}

// Message describes a message in JSON.
type Message struct {
	Name   string  `json:"name"`
	Fields []Field `json:"fields"`
}

// Field describes a field of a message in JSON.
type Field struct {
	Number int32  `json:"number"`
	Name   string `json:"name"`
	Type   string `json:"type"`
}

// Kind returns the kind of a method.
func Kind(m protoreflect.MethodDescriptor) protocol.Kind {
	switch {
	case m.IsStreamingClient() && m.IsStreamingServer():
		return protocol.Bidirectional
	case m.IsStreamingClient():
		return protocol.ClientStreaming
	case m.IsStreamingServer():
		return protocol.ServerStreaming
	default:
		return protocol.Unary
	}
}

// DescribeServices describes the services.
func (s *Schema) DescribeServices() []Service {
	described := make([]Service, 0, len(s.services))
	for _, d := range s.services {
		service := Service{Name: string(d.FullName()), Methods: []Method{}}
		for i := range d.Methods().Len() {
			m := d.Methods().Get(i)
			service.Methods = append(service.Methods, Method{string(m.Name()), Kind(m).String(), string(m.Input().FullName()), string(m.Output().FullName())})
		}
		described = append(described, service)
	}
	for _, name := range s.undescribed {
		described = append(described, Service{Name: name, Methods: []Method{}, Undescribed: true})
	}
	return described
}

// DescribeMessages describes the messages of all methods and the messages in these, in
// the order in which a reader meets them. It leaves out those of google.protobuf.
func (s *Schema) DescribeMessages() []Message {
	seen := make(map[protoreflect.FullName]bool)
	described := []Message{}
	var visit func(d protoreflect.MessageDescriptor)
	visit = func(d protoreflect.MessageDescriptor) {
		if seen[d.FullName()] || strings.HasPrefix(string(d.FullName()), "google.protobuf.") {
			return
		}
		seen[d.FullName()] = true
		message := Message{Name: string(d.FullName()), Fields: []Field{}}
		var inner []protoreflect.MessageDescriptor
		for i := range d.Fields().Len() {
			f := d.Fields().Get(i)
			message.Fields = append(message.Fields, Field{int32(f.Number()), string(f.Name()), typeOf(f)})
			switch {
			case f.IsMap():
				if v := f.MapValue().Message(); v != nil {
					inner = append(inner, v)
				}
			case f.Message() != nil:
				inner = append(inner, f.Message())
			}
		}
		described = append(described, message)
		for _, d := range inner {
			visit(d)
		}
	}
	for _, d := range s.services {
		for i := range d.Methods().Len() {
			visit(d.Methods().Get(i).Input())
			visit(d.Methods().Get(i).Output())
		}
	}
	return described
}

// typeOf returns the type of a field as a .proto file has it.
func typeOf(f protoreflect.FieldDescriptor) string {
	switch {
	case f.IsMap():
		return fmt.Sprintf("map<%s, %s>", typeOf(f.MapKey()), typeOf(f.MapValue()))
	case f.IsList():
		return "repeated " + single(f)
	case f.HasOptionalKeyword():
		return "optional " + single(f)
	case f.ContainingOneof() != nil:
		return single(f) + " (oneof " + string(f.ContainingOneof().Name()) + ")"
	default:
		return single(f)
	}
}

func single(f protoreflect.FieldDescriptor) string {
	switch {
	case f.Message() != nil:
		return string(f.Message().FullName())
	case f.Enum() != nil:
		return string(f.Enum().FullName())
	default:
		return f.Kind().String()
	}
}

// Proto returns the text of the .proto files of the services, and of what those files
// import. It leaves out the files of google.protobuf, which every compiler has.
func (s *Schema) Proto() ([]File, error) {
	printer := protoprint.Printer{SortElements: false}
	seen := make(map[string]bool)
	var files []File
	var visit func(d protoreflect.FileDescriptor) error
	visit = func(d protoreflect.FileDescriptor) error {
		if seen[d.Path()] || d.IsPlaceholder() || strings.HasPrefix(d.Path(), "google/protobuf/") {
			return nil
		}
		seen[d.Path()] = true
		text, err := printer.PrintProtoToString(d)
		if err != nil {
			return fmt.Errorf("print %s: %w", d.Path(), err)
		}
		files = append(files, File{d.Path(), text})
		for i := range d.Imports().Len() {
			if err := visit(d.Imports().Get(i).FileDescriptor); err != nil {
				return err
			}
		}
		return nil
	}
	for _, d := range s.services {
		if err := visit(d.ParentFile()); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// File is a .proto file.
type File struct {
	Name string `json:"name"`
	Text string `json:"text"`
}
