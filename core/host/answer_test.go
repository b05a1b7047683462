package host

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/negotiation"
)

const (
	testInstance = "SESAME"
	ownAnswer    = "1|1|unix|/run/p|grpc|||instance=SESAME|transport=unix/1|security=peercred\n"
	goAnswer     = "1|1|unix|/run/p|grpc\n"
)

func TestAnswerReader(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 3*negotiation.MaxAnswerLen)
	const bad = "1|1|unix|/run/p|netrpc\n"
	for _, tt := range []struct {
		name, in string
		through  string // what is let through
		address  string // of the answer; empty for none
		half     string // of the reason for no answer
		code     handshake.Code
	}{
		{name: "answer alone", in: ownAnswer, address: "/run/p"},
		{name: "answer of go-plugin", in: goAnswer, address: "/run/p"},
		{name: "with a carriage return", in: "1|1|unix|/run/p|grpc\r\n", address: "/run/p"},
		{name: "without a newline", in: "1|1|unix|/run/p|grpc", address: "/run/p"},
		{name: "noise around it", in: "a\nb\n" + ownAnswer + "c\nd", through: "a\nb\nc\nd", address: "/run/p"},
		{name: "after an unfinished line", in: "loading\n" + ownAnswer, through: "loading\n", address: "/run/p"},
		{name: "its own empty line", in: "a\n\n" + ownAnswer, through: "a\n", address: "/run/p"},
		{name: "empty lines of others", in: "\na\n\n\n\n" + ownAnswer + "\n\nb", through: "\na\n\n\n\n\nb", address: "/run/p"},
		{name: "after a long line", in: long + "\n" + ownAnswer + long, through: long + "\n" + long, address: "/run/p"},
		{name: "within a long line", in: long + goAnswer + goAnswer, through: long + goAnswer, address: "/run/p"},
		{name: "only the first counts", in: goAnswer + ownAnswer + bad, through: ownAnswer + bad, address: "/run/p"},
		{name: "the answer to another offer", in: strings.ReplaceAll(ownAnswer, testInstance, "GUESS"), through: strings.ReplaceAll(ownAnswer, testInstance, "GUESS")},
		{name: "a bad answer", in: "a\n" + bad + "b\n", through: "a\nb\n", code: handshake.CodeWire},
		{name: "nothing"},
		{name: "only noise", in: "a\nb\n", through: "a\nb\n"},
		{name: "only empty lines", in: "\n\n", through: "\n\n"},
		{name: "only a long line", in: long, through: long},
		{name: "half a line", in: "a\n1|1|unix", through: "a\n1|1|unix", half: "1|1|unix"},
		{name: "half an answer", in: "a\n\n1|1|unix|/ru", through: "a\n\n1|1|unix|/ru", half: "1|1|unix|/ru"},
	} {
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"at once":   func(r io.Reader) io.Reader { return r },
			"bytewise":  iotest.OneByteReader,
			"last read": iotest.DataErrReader,
		} {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				r := newAnswerReader(wrap(strings.NewReader(tt.in)), testInstance)
				through, err := io.ReadAll(r)
				if err != nil {
					t.Fatal(err)
				}
				if string(through) != tt.through {
					t.Errorf("let through %.100q (%d bytes), want %.100q (%d bytes)", through, len(through), tt.through, len(tt.through))
				}
				result := <-r.found
				switch {
				case tt.address != "":
					if result.err != nil || result.answer.Address != tt.address {
						t.Errorf("answer %+v, %v; want address %s", result.answer, result.err, tt.address)
					}
				case tt.code != "":
					if e, ok := errors.AsType[*handshake.Error](result.err); !ok || e.Code != tt.code {
						t.Errorf("error %v, want code %s", result.err, tt.code)
					}
				default:
					if e, ok := errors.AsType[*noAnswerError](result.err); !ok || e.half != tt.half {
						t.Errorf("error %v, want no answer and half %q", result.err, tt.half)
					}
				}
			})
		}
	}
}

// TestAnswerReaderPassesErrorsOn checks a pipe that breaks.
func TestAnswerReaderPassesErrorsOn(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	r := newAnswerReader(io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(broken)), testInstance)
	through, err := io.ReadAll(r)
	if !errors.Is(err, broken) || string(through) != "a\nb" {
		t.Errorf("%q, %v; want what came before, and %v", through, err, broken)
	}
	if result := <-r.found; result.err == nil {
		t.Errorf("answer %+v", result.answer)
	}
}
