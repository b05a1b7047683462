package docs_test

import (
	"regexp"
	"strings"
	"testing"
)

// TestMessagesExist looks in the code of core for the messages that
// testing-and-debugging.md explains, up to the first part that varies.
func TestMessagesExist(t *testing.T) {
	const page = "docs/testing-and-debugging.md"
	_, section, _ := strings.Cut(read(t, page), "\n## When something does not work\n")
	section, _, _ = strings.Cut(section, "\n## ")
	code := codeOf(t, "core")
	fixed := regexp.MustCompile(`^[a-z][a-z ]+[a-z]`)
	found := 0
	for _, row := range rows(section) {
		for _, span := range spans(row[0]) {
			message := fixed.FindString(span)
			if strings.HasPrefix(span, "codes.") || message == "" {
				continue
			}
			found++
			if !strings.Contains(code, message) {
				t.Errorf("%s: nothing in core says %q", page, message)
			}
		}
	}
	if found == 0 {
		t.Error("the page explains no message")
	}
}
