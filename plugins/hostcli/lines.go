package hostcli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// lineReadSize is how many bytes one read asks for.
const lineReadSize = 64 << 10

// lineEnd is the longest end of a line.
const lineEnd = "\r\n"

// A Line is one line of an input, or the error that is in its place.
type Line struct {
	Number int    // from 1
	Text   string // without its end, which is LF or CR LF
	Size   int    // bytes in the input, with the end
	Err    error
}

// Lines sends the lines of an input, whatever bytes they have, and closes the
// channel at the end of the input. The last line need not have an end. After an
// error nothing more is sent. A line of more than limit bytes, without its end,
// is an error, and is not read further.
//
// When ctx is done no more lines come, but the channel closes only when a read
// that is under way has returned. A read of an [Input] returns when the Input's
// own context is done, or when it is closed.
func Lines(ctx context.Context, input io.Reader, limit int) <-chan Line {
	return sendLines(ctx, input, limit, func([]byte) error { return nil })
}

// TextLines is like [Lines], but a line that is not UTF-8 is an error too,
// because all strings in messages are UTF-8.
func TextLines(ctx context.Context, input io.Reader, limit int) <-chan Line {
	return sendLines(ctx, input, limit, func(text []byte) error {
		if !utf8.Valid(text) {
			return errors.New("the line is not UTF-8")
		}
		return nil
	})
}

func sendLines(ctx context.Context, input io.Reader, limit int, check func(text []byte) error) <-chan Line {
	lines := make(chan Line)
	go func() {
		defer close(lines)
		in := bufio.NewReaderSize(input, lineReadSize)
		for number := 1; ; number++ {
			text, size, err := readLine(in, limit)
			if errors.Is(err, io.EOF) {
				return
			}
			if err == nil {
				err = check(text)
			}
			l := Line{Number: number, Err: err}
			if err == nil {
				l.Text, l.Size = string(text), size
			}
			select {
			case lines <- l:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return lines
}

// readLine reads one line; its error is io.EOF if there is none.
func readLine(in *bufio.Reader, limit int) (text []byte, size int, err error) {
	for {
		part, err := in.ReadSlice('\n')
		text = append(text, part...)
		switch {
		case len(text) > limit+len(lineEnd):
			return nil, 0, tooLong(limit)
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(text) > 0:
			// This is the last line. The next read finds the end again.
		case err != nil:
			return nil, 0, err
		}
		size = len(text)
		text, ended := bytes.CutSuffix(text, []byte("\n"))
		if ended {
			text = bytes.TrimSuffix(text, []byte("\r"))
		}
		if len(text) > limit {
			return nil, 0, tooLong(limit)
		}
		return text, size, nil
	}
}

func tooLong(limit int) error { return fmt.Errorf("the line is longer than %d bytes", limit) }
