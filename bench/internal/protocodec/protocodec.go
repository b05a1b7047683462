// Package protocodec encodes messages with protobuf, for the frameworks that let their
// users choose the encoding.
package protocodec

import (
	"fmt"

	"google.golang.org/protobuf/proto"
)

// Codec implements the codecs of drpc and arpc. M is their type of a message, which is
// an interface without methods.
type Codec[M any] struct{}

// Marshal encodes a message.
func (Codec[M]) Marshal(v M) ([]byte, error) {
	m, ok := any(v).(proto.Message)
	if !ok {
		return nil, fmt.Errorf("protocodec: %T is not a message", v)
	}
	return proto.Marshal(m)
}

// Unmarshal decodes a message.
func (Codec[M]) Unmarshal(data []byte, v M) error {
	m, ok := any(v).(proto.Message)
	if !ok {
		return fmt.Errorf("protocodec: %T is not a message", v)
	}
	return proto.Unmarshal(data, m)
}
