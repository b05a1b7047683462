package reflection

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// decode decodes a file. Extensions have no JSON name, but some releases of protoc write one.
func decode(t *testing.T, raw []byte) *descriptorpb.FileDescriptorProto {
	t.Helper()
	file := new(descriptorpb.FileDescriptorProto)
	if err := proto.Unmarshal(raw, file); err != nil {
		t.Fatal(err)
	}
	withoutJSONNames(file)
	return file
}

func withoutJSONNames(file *descriptorpb.FileDescriptorProto) {
	for _, extension := range file.GetExtension() {
		extension.JsonName = nil
	}
}

// encoded encodes a file from what protobuf has decoded, as if it had no generated code.
func encoded(f protoreflect.FileDescriptor) []byte {
	var e encoder
	e.file(f)
	return e
}

// Every file that this test links is encoded as protobuf's own package encodes it.
func TestFilesAsProtodesc(t *testing.T) {
	t.Parallel()
	n := 0
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		n++
		want := protodesc.ToFileDescriptorProto(f)
		withoutJSONNames(want)
		for how, raw := range map[string][]byte{"from its generated code": encodeFile(f), "from what protobuf has decoded": encoded(f)} {
			if got := decode(t, raw); !proto.Equal(got, want) {
				t.Errorf("%s %s:\n%v\nwant\n%v", f.Path(), how, got, want)
			}
		}
		return true
	})
	if n < 5 {
		t.Errorf("only %d files are linked", n)
	}
}

// Files that are made while a program runs. They have what generated files seldom have.
func TestFilesWithoutGeneratedCode(t *testing.T) {
	t.Parallel()
	const message = `
		message_type: {
			name: "M"
			field: { name: "text" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING default_value: "a\"b" json_name: "text" }
			field: { name: "data" number: 2 label: LABEL_OPTIONAL type: TYPE_BYTES default_value: "\\000\\n\\r\\t\\\"\\'\\\\a\\377" }
			field: { name: "real" number: 3 label: LABEL_OPTIONAL type: TYPE_FLOAT default_value: "0.1" }
			field: { name: "most" number: 4 label: LABEL_OPTIONAL type: TYPE_DOUBLE default_value: "inf" }
			field: { name: "least" number: 5 label: LABEL_OPTIONAL type: TYPE_DOUBLE default_value: "-inf" }
			field: { name: "none" number: 6 label: LABEL_OPTIONAL type: TYPE_FLOAT default_value: "nan" }
			field: { name: "count" number: 7 label: LABEL_OPTIONAL type: TYPE_SINT64 default_value: "-7" }
			field: { name: "kind" number: 8 label: LABEL_OPTIONAL type: TYPE_ENUM type_name: ".test.M.Kind" default_value: "SECOND" }
			field: { name: "set" number: 9 label: LABEL_OPTIONAL type: TYPE_BOOL default_value: "true" }
			field: { name: "counts" number: 10 label: LABEL_REPEATED type: TYPE_MESSAGE type_name: ".test.M.CountsEntry" json_name: "countsOfWords" }
			field: { name: "one" number: 11 label: LABEL_OPTIONAL type: TYPE_INT32 oneof_index: 0 }
			%s
			nested_type: {
				name: "CountsEntry"
				field: { name: "key" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
				field: { name: "value" number: 2 label: LABEL_OPTIONAL type: TYPE_UINT32 }
				options: { map_entry: true }
			}
			enum_type: {
				name: "Kind"
				value: { name: "FIRST" number: 0 }
				value: { name: "SECOND" number: -2 options: { deprecated: true } }
				reserved_range: { start: 5 end: 9 }
				reserved_name: "THIRD"
				options: { allow_alias: false }
			}
			extension_range: { start: 100 end: 200 }
			extension: { name: "inner" extendee: ".test.M" number: 101 label: LABEL_OPTIONAL type: TYPE_INT32 }
			oneof_decl: { name: "choice" }
			reserved_range: { start: 50 end: 60 }
			reserved_name: "gone"
		}
		extension: { name: "outer" extendee: ".test.M" number: 100 label: LABEL_REPEATED type: TYPE_STRING }`
	for name, text := range map[string]string{
		"service": `name: "s.proto" package: "test" syntax: "proto3" dependency: "google/protobuf/descriptor.proto" public_dependency: 0
			service: {
				name: "S"
				method: { name: "Both" input_type: ".google.protobuf.FileOptions" output_type: ".google.protobuf.FileOptions" client_streaming: true server_streaming: true }
				method: { name: "Old" input_type: ".google.protobuf.FileOptions" output_type: ".google.protobuf.FileOptions" options: { deprecated: true } }
				options: { deprecated: true }
			}
			options: { go_package: "x" }`,
		"proto2": `name: "m2.proto" package: "test"` + fmt.Sprintf(message, `
			field: { name: "must" number: 12 label: LABEL_REQUIRED type: TYPE_INT32 }
			field: { name: "group" number: 13 label: LABEL_OPTIONAL type: TYPE_GROUP type_name: ".test.M.Group" }
			nested_type: { name: "Group" }`),
		"editions": `name: "m3.proto" package: "test" syntax: "editions" edition: EDITION_2023` + fmt.Sprintf(message, `
			field: { name: "must" number: 12 label: LABEL_OPTIONAL type: TYPE_INT32 options: { features: { field_presence: LEGACY_REQUIRED } } }
			field: { name: "group" number: 13 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".test.M.Group" options: { features: { message_encoding: DELIMITED } } }
			nested_type: { name: "Group" }`),
		"proto3": `name: "m4.proto" package: "test" syntax: "proto3"
			message_type: {
				name: "P"
				field: { name: "maybe" number: 1 label: LABEL_OPTIONAL type: TYPE_INT32 oneof_index: 0 proto3_optional: true }
				field: { name: "plain" number: 2 label: LABEL_REPEATED type: TYPE_INT32 options: { packed: false } }
				oneof_decl: { name: "_maybe" }
			}`,
	} {
		want := new(descriptorpb.FileDescriptorProto)
		if err := prototext.Unmarshal([]byte(text), want); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		f, err := protodesc.NewFile(want, protoregistry.GlobalFiles)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := decode(t, encodeFile(f)); !proto.Equal(got, want) {
			t.Errorf("%s:\n%v\nwant\n%v", name, prototext.Format(got), prototext.Format(want))
		}
	}
}
