package service

import (
	"context"
	"fmt"
	"os"
)

// Base is what a [Handler] does without its framework.
type Base struct {
	Speaker
	At int // the version of the protocol that it is bound to
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

// What Print writes before the text.
const (
	StdoutMark = "stdout:"
	StderrMark = "stderr:"
)

// Speaker is an [Echoer] that writes itself before the data, so that the caller
// knows who has answered.
type Speaker string

// The two sides as they answer through a broker.
const (
	FromHost   Speaker = "the host says "
	FromPlugin Speaker = "the plugin says "
)

// Echo implements [Echoer].
func (s Speaker) Echo(data []byte) []byte { return append([]byte(s), data...) }

// Question is what is asked through a broker.
const Question = "hello"

// Ask calls Echo with the question, and returns what came back.
func Ask(ctx context.Context, conn Conn) (string, error) {
	answer, err := Client{conn}.Echo(ctx, []byte(Question))
	return string(answer), err
}
