package service

import (
	"context"
	"fmt"
	"os"
)

// Base is the part of a [Handler] that does not need its framework.
type Base struct {
	Speaker
	At int // version of the protocol that the handler is bound to
}

// Count implements [Handler].
func (b Base) Count(n uint32, send func(uint32) error) error {
	for i := range n {
		if err := send(i); err != nil {
			return err
		}
	}
	return nil
}

// Version implements [Handler].
func (b Base) Version() uint32 { return uint32(b.At) } //nolint:gosec // versions are small

// Print implements [Handler].
func (b Base) Print(text string) error {
	if _, err := fmt.Fprint(os.Stdout, StdoutMark, text); err != nil {
		return err
	}
	_, err := fmt.Fprint(os.Stderr, StderrMark, text)
	return err
}

// Print writes these before the text.
const (
	StdoutMark = "stdout:"
	StderrMark = "stderr:"
)

// Speaker is an [Echoer] that writes its own text before the data, so that the
// caller knows which side has answered.
type Speaker string

// These are the answers of the two sides through a broker.
const (
	FromHost   Speaker = "the host says "
	FromPlugin Speaker = "the plugin says "
)

// Echo implements [Echoer].
func (s Speaker) Echo(data []byte) []byte { return append([]byte(s), data...) }

// Question is the data of a call through a broker.
const Question = "hello"

// Ask calls Echo with the question, and returns the answer.
func Ask(ctx context.Context, conn Conn) (string, error) {
	answer, err := Client{conn}.Echo(ctx, []byte(Question))
	return string(answer), err
}
