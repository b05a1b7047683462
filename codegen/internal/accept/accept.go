// Package accept reads the file that lists accepted breaking changes. Begin with
// [Read].
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
	// Line is the number of the line in the list. The first line is 1.
	Line int
	// File is the name of the .proto file relative to the root. Text describes the
	// change.
	File, Text string
	// Reason is the comment above the entry, as one line.
	Reason string
	// Used is true after [Set.Find] has returned the entry.
	Used bool
}

// A Set holds the entries of a file.
type Set struct {
	Path    string
	Entries []*Entry
}

// entry matches a line of a report, with or without line and column.
var entry = regexp.MustCompile(`^(.+?\.proto)(?::[0-9]+:[0-9]+)?: (.+)$`)

// Read reads the entries of a file. Errors name the file by path. An entry is
//
//	# Nobody ever called it.
//	words/words.proto: method words.Words.Drop: removed
//
// The comment is the reason of the entries below it, until an empty line. An entry
// without a reason is an error. So is a line that is neither entry nor comment.
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
				return nil, fmt.Errorf("%s:%d:1: no reason: write the reason in a comment above this line, after #", path, number)
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

// Find returns the entry that accepts a change, and marks the entry as used. It
// returns nil if there is no such entry.
func (s *Set) Find(file, text string) *Entry {
	for _, e := range s.Entries {
		// A check below the root prints only the end of the file's name. That is enough,
		// because Text has the full name of what changed.
		if e.Text == text && (e.File == file || strings.HasSuffix(file, "/"+e.File)) {
			e.Used = true
			return e
		}
	}
	return nil
}
