package compile

import (
	"bufio"
	"bytes"
	"embed"
	"io"
	"strings"
)

// builtin holds the options that every file can import. It is a copy of
// core/proto, as no module can embed another's files; a test compares the two.
//
//go:embed plugwire/options.proto
var builtin embed.FS

// optionsFile is the name by which files import the options.
const optionsFile = "plugwire/options.proto"

// A Source is where .proto files come from.
type Source struct {
	// Open opens a file by the slash-separated name by which others import it.
	Open func(name string) (io.ReadCloser, error)
	// Path returns what messages call the file.
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

// line returns a line of a file, counted from 1, without the space around it.
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
