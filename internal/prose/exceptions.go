package prose

import (
	"fmt"
	"strings"
)

// Exceptions is the list of what may stay though it breaks a rule, each with its
// reason.
//
// A line of the list is
//
//	file or directory | rule | words of the passage | reason
//
// where a rule or words of * stand for all.
// Empty lines and those that begin with # are ignored.
type Exceptions struct {
	file    string
	entries []*exception
}

type exception struct {
	line              int
	path, rule, words string
	used              bool
}

const wildcard = "*"

// ParseExceptions reads a list; file is its name in findings.
func ParseExceptions(file, content string) (*Exceptions, error) {
	list := &Exceptions{file: file}
	for i, line := range strings.Split(content, "\n") {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		fields := strings.Split(line, " | ")
		if len(fields) != 4 {
			return nil, fmt.Errorf("%s:%d: want 4 fields separated by \" | \", got %d", file, i+1, len(fields))
		}
		for j := range fields {
			fields[j] = strings.TrimSpace(fields[j])
			if fields[j] == "" {
				return nil, fmt.Errorf("%s:%d: field %d is empty", file, i+1, j+1)
			}
		}
		if rule := fields[1]; rule != wildcard && !known(rule) {
			return nil, fmt.Errorf("%s:%d: there is no rule %q", file, i+1, rule)
		}
		list.entries = append(list.entries, &exception{line: i + 1, path: fields[0], rule: fields[1], words: fields[2]})
	}
	return list, nil
}

// allow reports whether an exception covers the finding, which is in a passage
// with that text.
func (l *Exceptions) allow(f Finding, text string) bool {
	allowed := false
	for _, e := range l.entries {
		if e.covers(f, text) {
			e.used, allowed = true, true
		}
	}
	return allowed
}

func (e *exception) covers(f Finding, text string) bool {
	return (f.File == e.path || e.path == "." || strings.HasPrefix(f.File, e.path+"/")) &&
		(e.rule == wildcard || e.rule == f.Rule) &&
		(e.words == wildcard || strings.Contains(text, e.words))
}

// unused returns a finding for each exception that covered nothing.
func (l *Exceptions) unused() []Finding {
	var findings []Finding
	for _, e := range l.entries {
		if !e.used {
			findings = append(findings, Finding{l.file, e.line, "exception", e.path, "nothing breaks this rule there any more: delete the line"})
		}
	}
	return findings
}
