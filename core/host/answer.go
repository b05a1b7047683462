package host

import (
	"bufio"
	"errors"
	"io"

	"github.com/plugwire/plugwire/core/internal/negotiation"
)

// answerReader finds the answer in what a plugin prints on its standard output. All
// other output, before and after the answer, passes through, so the host logs it like
// any other line.
type answerReader struct {
	r        *bufio.Reader
	instance string
	found    chan answerResult // has room for the only result
	decided  bool              // a result was sent
	midLine  bool              // the next bytes continue a line that has passed
	blank    bool              // an empty line is held back: it may be the answer's first byte
	rest     []byte            // read, but not yet passed on
}

// answerResult is the answer, or the reason why there is none.
type answerResult struct {
	answer *negotiation.Answer
	err    error
}

// noAnswerError is the reason if the output ended before an answer came. half is the
// unfinished line at its end, if there is one.
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

// examine returns what passes of a line, or of a piece of a line if err is not nil.
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
	case parseErr != nil && err != nil: // the line is cut off
		a.decide(answerResult{err: &noAnswerError{half: string(line)}})
	case !errors.Is(parseErr, negotiation.ErrNoise):
		a.decide(answerResult{answer: answer, err: parseErr})
		a.blank = false
		return nil
	}
	return a.released(line)
}

// released returns line, after the empty line if one is held back.
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
