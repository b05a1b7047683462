// Package accept reads the file of breaking changes that people have agreed on.
// Begin with [Read].
package accept

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// An Entry is one accepted change.
type Entry struct {
	// Line is the number of the line, counted from 1.
	Line int
	// File is the name of the .proto file relative to the root, and Text what the
	// change is.
	File, Text string
	// Reason is the comment above the entry, in one line.
	Reason string
	// Used is for the caller.
	Used bool
}

// A Set is the entries of a file.
type Set struct {
	Path    string
	Entries []*Entry
}

// entry matches a line such as a report has it, with the place or without.
var entry = regexp.MustCompile(`^(.+?\.proto)(?::[0-9]+:[0-9]+)?: (.+)$`)

// Read reads the entries of a file, which messages call path:
//
//	# Nobody ever called it.
//	words/words.proto: method words.Words.Drop: removed
//
// The comment is the reason, and ends at an empty line. An entry without one is an
// error, as is a line that is neither.
func Read(file io.Reader, path string) (*Set, error) {
	set := &Set{Path: path}
	known := make(map[[2]string]int)
	var reason []string
	inComment := false
	lines := bufio.NewScanner(file)
	for number := 1; lines.Scan(); number++ {
		line := strings.TrimSpace(lines.Text())
		comment, isComment := strings.CutPrefix(line, "#")
		switch {
		case line == "":
			reason, inComment = nil, false
		case isComment && inComment:
			reason = append(reason, strings.TrimSpace(comment))
		case isComment:
			reason, inComment = []string{strings.TrimSpace(comment)}, true
		default:
			inComment = false
			m := entry.FindStringSubmatch(line)
			if m == nil {
				return nil, fmt.Errorf("%s:%d:1: want a line that plugwire-gen check prints, FILE.proto: CHANGE", path, number)
			}
			why := strings.TrimSpace(strings.Join(reason, " "))
			if why == "" {
				return nil, fmt.Errorf("%s:%d:1: accepted without a reason: write it above, after #", path, number)
			}
			key := [2]string{m[1], m[2]}
			if first := known[key]; first > 0 {
				return nil, fmt.Errorf("%s:%d:1: duplicate of line %d", path, number, first)
			}
			known[key] = number
			set.Entries = append(set.Entries, &Entry{Line: number, File: m[1], Text: m[2], Reason: why})
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return set, nil
}

// Find returns the entry that accepts a change, and notes that it is used. It
// returns nil if there is none.
func (s *Set) Find(file, text string) *Entry {
	for _, e := range s.Entries {
		// A line that was printed below the root has the end of the file's name. The text has
		// the full name of what changed, so no other file is meant.
		if e.Text == text && (e.File == file || strings.HasSuffix(file, "/"+e.File)) {
			e.Used = true
			return e
		}
	}
	return nil
}
