package transport

import (
	"regexp"
	"strings"
	"testing"
)

// Names follow the documented rule, here as a regular expression.
func TestIsName(t *testing.T) {
	t.Parallel()
	rule := regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)
	names := []string{"", strings.Repeat("n", maxNameLen), strings.Repeat("n", maxNameLen+1)}
	for b := range 256 {
		c := string([]byte{byte(b)})
		names = append(names, c, c+"a", "a"+c, "a"+c+"a")
	}
	for _, name := range names {
		if got, want := isName(name), rule.MatchString(name); got != want {
			t.Errorf("isName(%q) = %t, want %t", name, got, want)
		}
	}
}
