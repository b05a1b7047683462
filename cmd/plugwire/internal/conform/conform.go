// Package conform is the command that checks a plugin or a host in any language against
// docs/protocol.md and docs/wire.md, from outside of its process.
//
// The rules are in the packages plugins and hosts. Each of these returns a [Suite], and this
// package runs it: a [Rule] gets a [Case] with a directory and processes of its own, and
// the case ends whatever the check has started.
//
// A check returns one of these:
//
//   - nil: what the title of the rule says is true;
//   - a [*Failure], made by [Fail]: it is not. The failure says what was expected, what
//     was seen, and what to do;
//   - [NotApplicable]: the rule has no meaning for this program, and why;
//   - any other error: the check could not be made, for example because the machine has
//     no room. It counts as a failure of the run, and not of the program.
//
// The context of a check ends at the rule's bound. The case then ends all processes and
// closes what it owns (see [Case.Own]), so that a check which reads or writes returns too.
//
// A rule that needs another process of this program, such as a host that the case kills,
// declares a [Role] in its suite, and starts it with [Case.RoleCommand].
//
// To add rules: append to the Rules of the suite. The title is one sentence of what must be
// true. The section must exist on the page; a test of package cli checks that. All rules
// are in profile full. Profiles names the others that a rule is in.
package conform

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// Profile is a set of profiles: what a program claims to be.
type Profile uint8

// The profiles.
const (
	// Minimal is what the smallest useful program does.
	Minimal Profile = 1 << iota
	// GoPlugin is what go-plugin's releases do.
	GoPlugin
	// Full is everything that the pages say. Every rule is in it.
	Full
)

// profileNames has the names by which a person chooses a profile, in the order above.
var profileNames = []string{"minimal", "go-plugin", "full"}

// String returns the names of the profiles of the set.
func (p Profile) String() string {
	var names []string
	for i, name := range profileNames {
		if p&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// ParseProfile returns the profile with a name.
func ParseProfile(name string) (Profile, error) {
	i := slices.Index(profileNames, name)
	if i < 0 {
		return 0, fmt.Errorf("profile %q: want one of %s", name, strings.Join(profileNames, ", "))
	}
	return 1 << i, nil
}

// DefaultBound is how long a check may take whose rule has no bound of its own. The slowest
// machine of a CI starts a plugin in a fraction of it.
const DefaultBound = 30 * time.Second

// Rule is one thing that must be true for a program.
type Rule struct {
	// Section is where the rule comes from: the name of the page and the number of the
	// section, such as "protocol 6" or "wire 8".
	Section string
	// Name is the rule's name in its section. Names of released rules never change.
	Name string
	// Title is one sentence: what must be true.
	Title string
	// Profiles are the profiles beside Full that the rule is in.
	Profiles Profile
	// Needs are the identifiers of rules without which this one says nothing: where one of
	// them is broken, this one is not checked. So one mistake of a program breaks one rule.
	Needs []string
	// Bound is how long the check may take. 0 means [DefaultBound].
	Bound time.Duration
	// Check makes the check. Checks of several rules run at the same time.
	Check func(ctx context.Context, c *Case) error
}

// ID returns the rule's identifier: protocol-6/one-line.
func (r *Rule) ID() string { return strings.ReplaceAll(r.Section, " ", "-") + "/" + r.Name }

// profiles returns all profiles that the rule is in.
func (r *Rule) profiles() Profile { return r.Profiles | Full }

func (r *Rule) bound() time.Duration { return cmp.Or(r.Bound, DefaultBound) }

// Suite is the rules for one kind of program.
type Suite struct {
	// Kind is "plugin" or "host": the name of the command that runs the suite.
	Kind string
	// Long is the help text of that command.
	Long string
	// Rules are in any order: a run sorts them by section.
	Rules []Rule
	// Roles are the processes of this program that the rules need.
	Roles []Role
	// Flags adds the suite's own flags to those of its command. May be nil.
	Flags func(*pflag.FlagSet)
	// Prepare runs before the first rule, and checks the flags. Its error ends the command.
	// May be nil.
	Prepare func(command []string) error
}

// sorted returns the rules by section, and in the order of the suite in each of them.
func (s *Suite) sorted() []*Rule {
	rules := make([]*Rule, len(s.Rules))
	for i := range s.Rules {
		rules[i] = &s.Rules[i]
	}
	slices.SortStableFunc(rules, func(a, b *Rule) int {
		pageA, numberA := splitSection(a.Section)
		pageB, numberB := splitSection(b.Section)
		return cmp.Or(strings.Compare(pageA, pageB), cmp.Compare(numberA, numberB))
	})
	return rules
}

// splitSection returns the name of a page, and the number of a section; 0 if it has none.
func splitSection(section string) (page string, number int) {
	page, digits, _ := strings.Cut(section, " ")
	number, err := strconv.Atoi(digits)
	if err != nil {
		return section, 0
	}
	return page, number
}
