package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/plugwire/plugwire/plugins/hostcli"
)

// maxText is the size of the longest text that the plugin accepts, in bytes. A
// longer file is not read to its end.
const maxText = 64 << 10

// readText returns the content of the file, or of standard input if name is
// "-". It must be text. It returns as soon as ctx is done.
func readText(ctx context.Context, name string) (string, error) {
	input, err := hostcli.Open(ctx, name)
	if err != nil {
		return "", err
	}
	defer input.Close()
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
