package cli

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform/hosts"
	pluginrules "github.com/plugwire/plugwire/cmd/plugwire/internal/conform/plugins"
)

// TestConformRules checks that each rule comes from a section that there is, says in a sentence
// what must be true, and needs only rules that there are.
func TestConformRules(t *testing.T) {
	t.Parallel()
	pages := map[string]string{}
	for _, page := range []string{"protocol", "wire"} {
		text, err := os.ReadFile("../../../../docs/" + page + ".md")
		if err != nil {
			t.Fatal(err)
		}
		pages[page] = string(text)
	}
	name := regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	for _, s := range []*conform.Suite{pluginrules.Suite(), hosts.Suite()} {
		ids := map[string]bool{}
		for i := range s.Rules {
			r := &s.Rules[i]
			page, number, _ := strings.Cut(r.Section, " ")
			if !strings.Contains(pages[page], "\n## "+number+". ") {
				t.Errorf("%s: there is no section %q", r.ID(), r.Section)
			}
			if !name.MatchString(r.Name) || !strings.HasSuffix(r.Title, ".") || r.Check == nil || ids[r.ID()] {
				t.Errorf("%s %s: a rule has a name of its own in its section, a sentence and a check: %q", s.Kind, r.ID(), r.Title)
			}
			ids[r.ID()] = true
		}
		for i := range s.Rules {
			for _, need := range s.Rules[i].Needs {
				if !ids[need] {
					t.Errorf("%s %s: there is no rule %s", s.Kind, s.Rules[i].ID(), need)
				}
			}
		}
	}
}
