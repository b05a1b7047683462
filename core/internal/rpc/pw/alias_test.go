package pw

import (
	"bytes"
	"slices"
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

// TestParts sends messages whose largest field is not copied.
func TestParts(t *testing.T) {
	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<14)
	unknown := wrapperspb.Bytes(large)
	unknown.ProtoReflect().SetUnknown([]byte{0xf8, 0x7f, 0x01})
	required := &descriptorpb.UninterpretedOption_NamePart{}
	for name, test := range map[string]struct {
		message proto.Message
		field   []byte // what is not copied; nil if all is
		fails   bool
	}{
		"bytes alone":            {wrapperspb.Bytes(large), large, false},
		"bytes in a message":     {&testpb.SimpleRequest{ResponseSize: 7, Payload: &testpb.Payload{Type: 3, Body: large}, FillUsername: true}, large, false},
		"unknown fields":         {unknown, large, false},
		"optional bytes":         {&descriptorpb.UninterpretedOption{StringValue: large, DoubleValue: proto.Float64(1)}, large, false},
		"text":                   {wrapperspb.String(string(large)), nil, false},
		"much beside":            {&testpb.SimpleRequest{Payload: &testpb.Payload{Body: large}, OrcaPerQueryReport: &testpb.TestOrcaReport{RequestCost: map[string]float64{string(large[:mostRest]): 1}}}, nil, false},
		"text that is not UTF-8": {wrapperspb.String("\xff" + string(large)), nil, true},
		"a required field":       {&descriptorpb.UninterpretedOption{StringValue: large, Name: []*descriptorpb.UninterpretedOption_NamePart{required}}, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			before := proto.Clone(test.message)
			p := message{proto: test.message, size: proto.Size(test.message)}
			head, body, err := p.parts(nil)
			if test.fails {
				if err == nil {
					t.Error("there is no error")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if test.field == nil && len(body) > 0 || test.field != nil && (len(body) == 0 || &body[0] != &test.field[0]) {
				t.Errorf("%d bytes are copied, and %d are not", len(head), len(body))
			}
			got := test.message.ProtoReflect().New().Interface()
			if err := proto.Unmarshal(append(slices.Clip(head), body...), got); err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(got, before) {
				t.Error("another message")
			}
			if !proto.Equal(test.message, before) {
				t.Error("the caller's message has changed")
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
