package cli

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// formats are the output formats of check. The first is the default.
var formats = []string{"text", "json", "github"}

// The states of an item.
const (
	stateBreaking = "breaking" // fails the check
	stateAccepted = "accepted" // listed in the file of accepted changes
	stateUnstable = "unstable" // in an unstable package
	stateUnused   = "unused"   // an accepted change that does not exist
)

// An item is one line of check's output. Its JSON is for programs.
type item struct {
	File   string `json:"file"` // relative to the working directory; in format github, to the repository
	Line   int    `json:"line"`
	Column int    `json:"column"`
	Text   string `json:"text"`
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"` // why the item does not fail the check
}

// report prints an item.
func (s streams) report(format string, i item) error {
	text := i.Text
	if i.Reason != "" && format != "json" {
		text += fmt.Sprintf(" (%s: %s)", i.State, i.Reason)
	}
	switch format {
	case "json":
		line, err := json.Marshal(i)
		if err != nil {
			return err
		}
		s.say("%s\n", line)
	case "github":
		level := map[string]string{stateBreaking: "error", stateAccepted: "notice", stateUnstable: "notice", stateUnused: "warning"}[i.State]
		s.say("::%s file=%s,line=%d,col=%d,title=plugwire-gen check::%s\n", level, escapeProperty(i.File), i.Line, i.Column, escapeData(text))
	default:
		if i.State == stateUnused {
			s.complain("%s:%d:%d: %s\n", i.File, i.Line, i.Column, text)
		} else {
			s.say("%s:%d:%d: %s\n", i.File, i.Line, i.Column, text)
		}
	}
	return nil
}

// escapeData escapes a message for GitHub's workflow commands.
func escapeData(text string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(text)
}

// escapeProperty escapes a property of GitHub's workflow commands.
func escapeProperty(text string) string {
	return strings.NewReplacer(":", "%3A", ",", "%2C").Replace(escapeData(text))
}

// checkFormat returns an error if there is no such format.
func checkFormat(format string) error {
	if !slices.Contains(formats, format) {
		return fmt.Errorf("want one of %s", strings.Join(formats, ", "))
	}
	return nil
}
