package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// readSize is how much of the input is read at a time.
const readSize = 64 << 10

// A line is one line of the input, or the error that ended it.
type line struct {
	number int // from 1
	text   string
	size   int // bytes in the input, with the end of the line
	err    error
}

// readLines sends the lines of r, without their ends, and then closes lines. An
// error takes the place of the line at which it occurred and is the last sent; a
// line of more than limit bytes, its end included, is one. It stops when ctx is
// done, though not before a read in progress has ended.
func readLines(ctx context.Context, r io.Reader, limit int, lines chan<- line) {
	defer close(lines)
	in := bufio.NewReaderSize(r, readSize)
	for number := 1; ; number++ {
		l := readLine(in, limit)
		l.number = number
		if errors.Is(l.err, io.EOF) {
			return
		}
		select {
		case lines <- l:
		case <-ctx.Done():
			return
		}
		if l.err != nil {
			return
		}
	}
}

// readLine reads one line; its error is io.EOF if there is none. The input's
// last line need not have an end.
func readLine(in *bufio.Reader, limit int) line {
	var text []byte
	for {
		part, err := in.ReadSlice('\n')
		text = append(text, part...)
		switch {
		case len(text) > limit:
			return line{err: fmt.Errorf("the line is longer than %d bytes", limit)}
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(text) > 0:
			// The last line; the next read finds the end again.
		case err != nil:
			return line{err: err}
		}
		size := len(text)
		text, ended := bytes.CutSuffix(text, []byte("\n"))
		if ended {
			text = bytes.TrimSuffix(text, []byte("\r"))
		}
		if !utf8.Valid(text) {
			return line{err: errors.New("the line is not UTF-8")}
		}
		return line{text: string(text), size: size}
	}
}
