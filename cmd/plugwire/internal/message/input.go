// Package message reads the JSON of requests, and writes that of answers.
package message

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/output"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/schema"
)

// Input is the JSON values of a request, one after another.
type Input struct {
	from    string // for errors
	decoder *json.Decoder
	file    *os.File // nil if there is nothing to close
	empty   bool     // the person gave no request
	read    int      // values that were read
}

// Open returns the input that an argument names.
func Open(argument string, stdin io.Reader) (*Input, error) {
	if name, ok := strings.CutPrefix(argument, "@"); ok {
		f, err := os.Open(name)
		if err != nil {
			return nil, output.Usage("%w", err)
		}
		return &Input{from: name, decoder: json.NewDecoder(f), file: f}, nil
	}
	if argument == "-" {
		return &Input{from: "standard input", decoder: json.NewDecoder(stdin)}, nil
	}
	return &Input{from: "the request", decoder: json.NewDecoder(strings.NewReader(argument)), empty: argument == ""}, nil
}

// Close closes the file of the input, if there is one.
func (in *Input) Close() error {
	if in.file == nil {
		return nil
	}
	return in.file.Close()
}

// Next returns the next message, or [io.EOF].
func (in *Input) Next(d protoreflect.MessageDescriptor, types schema.Types) (proto.Message, error) {
	var value json.RawMessage
	if err := in.decoder.Decode(&value); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, io.EOF
		}
		return nil, in.mistake(err)
	}
	m := dynamicpb.NewMessage(d)
	if err := (protojson.UnmarshalOptions{Resolver: types}).Unmarshal(value, m); err != nil {
		return nil, in.mistake(err)
	}
	in.read++
	return m, nil
}

func (in *Input) mistake(err error) error {
	// protobuf puts a blank of another kind into its texts, so that nobody compares them.
	text := strings.ReplaceAll(strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\u00a0", " "), "proto: "), "  ", " ")
	return output.Usage("%s, value %d: %s", in.from, in.read+1, text)
}

// Only returns the one message of a method that takes one: an empty one if the person
// gave nothing.
func (in *Input) Only(d protoreflect.MessageDescriptor, types schema.Types) (proto.Message, error) {
	if in.empty {
		return dynamicpb.NewMessage(d), nil
	}
	m, err := in.Next(d, types)
	if errors.Is(err, io.EOF) {
		return nil, output.Usage("%s is empty: want one JSON value", in.from)
	}
	if err != nil {
		return nil, err
	}
	var more json.RawMessage
	if err := in.decoder.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, output.Usage("%s has more than one JSON value, and the method takes one message", in.from)
	}
	return m, nil
}

// Text returns a message as JSON on one line.
func Text(m proto.Message, types schema.Types, defaults bool) (json.RawMessage, error) {
	b, err := protojson.MarshalOptions{Resolver: types, EmitUnpopulated: defaults}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("the answer cannot be shown as JSON: %w", err)
	}
	return Compact(b)
}

// Compact returns JSON on one line. protobuf puts blanks into its JSON at random, so that
// nobody compares it.
func Compact(b []byte) (json.RawMessage, error) {
	var out bytes.Buffer
	if err := json.Compact(&out, b); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
