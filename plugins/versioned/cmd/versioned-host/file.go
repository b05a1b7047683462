package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"unicode/utf8"
)

// maxText is the most that the plugin takes as one text, in bytes. A longer
// file is not read to its end.
const maxText = 256 << 10

// readText returns the file's content, which must be text, or that of standard
// input if name is "-". It returns as soon as ctx is done.
func readText(ctx context.Context, name string, stdin io.Reader) (string, error) {
	type result struct {
		text string
		err  error
	}
	read := make(chan result, 1)
	// Not waited for when ctx is done: nothing can interrupt a read from a
	// terminal. It ends with that read, or with the process.
	go func() {
		text, err := readFile(name, stdin)
		read <- result{text, err}
	}()
	select {
	case r := <-read:
		return r.text, r.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func readFile(name string, stdin io.Reader) (text string, err error) {
	input := stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return "", err
		}
		defer func() { _ = file.Close() }() // it was only read
		input = file
	}
	content, err := io.ReadAll(io.LimitReader(input, maxText+1))
	switch {
	case err != nil:
		return "", err
	case len(content) > maxText:
		return "", fmt.Errorf("is longer than %d bytes", maxText)
	case !utf8.Valid(content):
		return "", errors.New("is not UTF-8")
	default:
		return string(content), nil
	}
}
