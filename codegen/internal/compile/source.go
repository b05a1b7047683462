package compile

import (
	"bufio"
	"bytes"
	"embed"
	"errors"
	"io"
	"strings"
)

// builtin holds the options that every file can import. It is a copy of core/proto,
// because a module can embed only its own files. A test compares the two.
//
//go:embed plugwire/options.proto
var builtin embed.FS

// optionsFile is the name of the options in import statements.
const optionsFile = "plugwire/options.proto"

// A Source provides .proto files. It names a file as import statements do, with
// slashes.
type Source struct {
	// Open opens a file.
	Open func(name string) (io.ReadCloser, error)
	// Path returns the path of a file for messages.
	Path func(name string) string
}

func (s Source) open(name string) (io.ReadCloser, error) {
	file, err := s.Open(name)
	if err == nil {
		return file, nil
	}
	if own, ownErr := builtin.Open(name); ownErr == nil {
		return own, nil
	}
	return nil, err
}

// read returns the content of a file.
func (s Source) read(name string) ([]byte, error) {
	file, err := s.open(name)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(file)
	return content, errors.Join(err, file.Close())
}

// line returns a line of a file without the space around it. The first line is 1.
func (s Source) line(name string, number int) (string, bool) {
	content, err := s.read(name)
	if err != nil {
		return "", false
	}
	lines := bufio.NewScanner(bytes.NewReader(content))
	for n := 1; lines.Scan(); n++ {
		if n == number {
			return strings.TrimSpace(lines.Text()), true
		}
	}
	return "", false
}
