package report

import (
	"errors"
	"os"
	"strings"
)

// These lines of a page enclose what a run replaces.
const (
	blockBegin = "<!-- bench:peers begins here -->\n"
	blockEnd   = "<!-- bench:peers ends here -->\n"
)

// Replace returns the page with text between the two marks.
func Replace(page, text string) (string, error) {
	before, rest, ok := strings.Cut(page, blockBegin)
	_, after, ok2 := strings.Cut(rest, blockEnd)
	if !ok || !ok2 {
		return "", errors.New("the page lacks the lines " + strings.TrimSpace(blockBegin) + " and " + strings.TrimSpace(blockEnd))
	}
	return before + blockBegin + "\n" + text + "\n\n" + blockEnd + after, nil
}

// Write writes text between the marks of a file.
func Write(name, text string) error {
	page, err := os.ReadFile(name) //nolint:gosec // the person names the page
	if err != nil {
		return err
	}
	replaced, err := Replace(string(page), text)
	if err != nil {
		return err
	}
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	return os.WriteFile(name, []byte(replaced), info.Mode().Perm()) //nolint:gosec // the person names the page
}
