package host

import (
	"bufio"
	"errors"
	"io"

	"github.com/plugwire/plugwire/core/internal/negotiation"
)

// answerReader finds the answer in what a plugin prints on its standard output
// and lets everything else through, from before and from after it: noise is
// tolerated, and is logged like any other line.
type answerReader struct {
	r        *bufio.Reader
	instance string
	found    chan answerResult // has room for the one result that is ever sent
	decided  bool              // a result was sent
	midLine  bool              // the next bytes continue a line that was let through
	blank    bool              // an empty line was held back: it may be the answer's first byte
	rest     []byte            // read and not yet let through
}

// answerResult is the answer, or why there will be none.
type answerResult struct {
	answer *negotiation.Answer
	err    error
}

// noAnswerError is the reason when the output ended before an answer came. half
// is the unfinished line it ended with, if any.
type noAnswerError struct{ half string }

func (e *noAnswerError) Error() string {
	if e.half != "" {
		return "its standard output ended in the middle of a line: " + quoteShort(e.half)
	}
	return "it closed its standard output without an answer"
}

func newAnswerReader(r io.Reader, instance string) *answerReader {
	return &answerReader{
		r:        bufio.NewReaderSize(r, negotiation.MaxAnswerLen),
		instance: instance,
		found:    make(chan answerResult, 1),
	}
}

// Read implements [io.Reader].
func (a *answerReader) Read(b []byte) (int, error) {
	for len(a.rest) == 0 {
		if a.decided && !a.midLine {
			return a.r.Read(b)
		}
		line, err := a.r.ReadSlice('\n')
		if len(line) == 0 && err != nil {
			a.decide(answerResult{err: &noAnswerError{}})
			if a.rest = a.released(nil); len(a.rest) == 0 {
				return 0, err
			}
			break
		}
		a.rest = a.examine(line, err)
	}
	n := copy(b, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// examine returns what of a line, or of a piece of one if err is not nil, is to
// be let through.
func (a *answerReader) examine(line []byte, err error) []byte {
	starts := !a.midLine
	a.midLine = errors.Is(err, bufio.ErrBufferFull)
	if !starts || a.midLine || a.decided {
		return a.released(line)
	}
	if string(line) == "\n" {
		released := a.released(nil)
		a.blank = true
		return released
	}
	answer, parseErr := negotiation.ParseAnswer(string(line), a.instance)
	switch {
	case parseErr != nil && err != nil: // whatever is wrong with it, it was cut off
		a.decide(answerResult{err: &noAnswerError{half: string(line)}})
	case !errors.Is(parseErr, negotiation.ErrNoise):
		a.decide(answerResult{answer: answer, err: parseErr})
		a.blank = false
		return nil
	}
	return a.released(line)
}

// released returns line after the empty line that was held back, if one was.
func (a *answerReader) released(line []byte) []byte {
	if !a.blank {
		return line
	}
	a.blank = false
	return append([]byte{'\n'}, line...)
}

func (a *answerReader) decide(result answerResult) {
	if !a.decided {
		a.decided = true
		a.found <- result
	}
}
