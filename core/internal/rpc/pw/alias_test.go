package pw

import (
	"bytes"
	"testing"

	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// TestSharedFields compares what unmarshalLarge reads with what was encoded.
func TestSharedFields(t *testing.T) {
	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<14)
	unknown := wrapperspb.Bytes(large)
	unknown.ProtoReflect().SetUnknown([]byte{0xf8, 0x7f, 0x01})
	for name, m := range map[string]proto.Message{
		"bytes in a message": &testpb.SimpleRequest{ResponseSize: 7, Payload: &testpb.Payload{Type: 3, Body: large}, FillUsername: true},
		"bytes alone":        wrapperspb.Bytes(large),
		"unknown fields":     unknown,
		"text":               wrapperspb.String(string(large)),
		"optional bytes":     &descriptorpb.UninterpretedOption{StringValue: large, DoubleValue: proto.Float64(1)},
	} {
		t.Run(name, func(t *testing.T) {
			encoded, err := proto.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			got := m.ProtoReflect().New().Interface()
			if err := unmarshalLarge(encoded, got); err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(got, m) {
				t.Error("another message")
			}
		})
	}
}

// TestSharedRequired decodes a message that lacks a required field.
func TestSharedRequired(t *testing.T) {
	b, err := proto.MarshalOptions{AllowPartial: true}.Marshal(&descriptorpb.UninterpretedOption{
		Name: []*descriptorpb.UninterpretedOption_NamePart{{}}, StringValue: make([]byte, 2*minAlias),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := unmarshalLarge(b, new(descriptorpb.UninterpretedOption)); err == nil {
		t.Error("a required field is absent, and there is no error")
	}
}

// TestSharedMemory does not keep a large message for a field that is a small part of it.
func TestSharedMemory(t *testing.T) {
	field := bytes.Repeat([]byte("x"), minAlias)
	b, err := proto.Marshal(&descriptorpb.UninterpretedOption{StringValue: field})
	if err != nil {
		t.Fatal(err)
	}
	b = append(b, bytes.Repeat([]byte{0xf8, 0x7f, 0x01}, 1<<15)...) // unknown fields
	m := new(descriptorpb.UninterpretedOption)
	if err := unmarshalLarge(b, m); err != nil {
		t.Fatal(err)
	}
	clear(b)
	if !bytes.Equal(m.GetStringValue(), field) {
		t.Error("the field shares the memory of the message")
	}
}
