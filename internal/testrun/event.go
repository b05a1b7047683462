package testrun

import (
	"bufio"
	"encoding/json"
	"io"
	"strings"
)

// event is a line of go test -json; see go doc test2json and go help buildjson.
type event struct {
	Action      string
	Package     string
	Test        string  // empty for an event of the package
	Elapsed     float64 // seconds, at the end of a test or package
	Output      string
	ImportPath  string // package that the compiler builds
	FailedBuild string // ImportPath of the package that did not compile, at the end of a package
}

// ended reports whether the event is the last of its test or package.
func (e event) ended() bool {
	return e.Action == "pass" || e.Action == "fail" || e.Action == "skip"
}

// readEvents calls the function on for every event, and other for every other line.
func readEvents(r io.Reader, on func(event), other func(line string)) error {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		var e event
		switch {
		case strings.HasPrefix(line, "{") && json.Unmarshal([]byte(line), &e) == nil && e.Action != "":
			on(e)
		case line != "":
			other(line)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
