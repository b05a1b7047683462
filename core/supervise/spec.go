package supervise

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Spec says how one member of a [Group] is started and kept up.
type Spec struct {
	// Name tells the member from the others. It is the name of the member's handle.
	Name string
	// Launch starts the plugin.
	Launch LaunchFunc
	// Options are the member's own. They count after those of the group.
	Options []Option
	// Revision says what Launch and Options do. [Group.Apply] does not touch a member that
	// runs with the same Revision. A member without one is replaced by each Apply: functions
	// cannot be compared, and a change must not be ignored.
	Revision string
	// Needs has the names of the members that must be ready before this one is started.
	// Such a member is not idle while this one runs, and is stopped after it.
	Needs []string
	// Optional is for a member that the host can do without: if it cannot be started, Apply
	// returns no error. The log, the events and [Group.State] have the reason, and the
	// member is started again like a plugin that has ended.
	Optional bool
	// Lazy is for a member that is started by its first call, or by a member that needs it.
	// The call waits for the start.
	Lazy bool
	// Idle is after how long without calls and open streams the plugin is stopped, until
	// the next call starts it. The default is never. Named streams, brokered connections and
	// what the plugin does by itself do not count.
	Idle time.Duration
}

// check returns the first mistake of a spec alone.
func (s Spec) check() error {
	switch {
	case s.Name == "":
		return errors.New("a spec has no name")
	case s.Launch == nil:
		return fmt.Errorf("plugin %s: the launch function is nil", s.Name)
	case s.Idle < 0:
		return fmt.Errorf("plugin %s: Idle is %v: want at least 0", s.Name, s.Idle)
	default:
		return nil
	}
}

// same reports whether a member with one spec need not be replaced for the other.
func (s Spec) same(other Spec) bool {
	return s.Revision != "" && s.Revision == other.Revision &&
		slices.Equal(s.Needs, other.Needs) && s.Lazy == other.Lazy && s.Idle == other.Idle
}

// checkSpecs returns the specs by name, and the mistakes of each and of all together.
func checkSpecs(specs []Spec) (map[string]Spec, error) {
	byName := make(map[string]Spec, len(specs))
	var errs []error
	for _, s := range specs {
		if err := s.check(); err != nil {
			errs = append(errs, err)
			continue
		}
		if _, ok := byName[s.Name]; ok {
			errs = append(errs, fmt.Errorf("plugin %s: duplicate name", s.Name))
		}
		s.Needs = slices.Clone(s.Needs)
		byName[s.Name] = s
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		for _, need := range byName[name].Needs {
			if _, ok := byName[need]; !ok {
				errs = append(errs, fmt.Errorf("plugin %s needs plugin %s, which is not in the group", name, need))
			}
		}
	}
	if len(errs) == 0 {
		errs = append(errs, checkCycle(byName))
	}
	return byName, errors.Join(errs...)
}

// checkCycle returns an error that names the members of a cycle, if there is one.
func checkCycle(specs map[string]Spec) error {
	const visiting, visited = 1, 2
	marks := make(map[string]int, len(specs))
	var path []string
	var visit func(name string) error
	visit = func(name string) error {
		switch marks[name] {
		case visited:
			return nil
		case visiting:
			path = append(path[slices.Index(path, name):], name)
			return fmt.Errorf("a cycle of needs: %s", strings.Join(path, " needs "))
		}
		marks[name] = visiting
		path = append(path, name)
		for _, need := range specs[name].Needs {
			if err := visit(need); err != nil {
				return err
			}
		}
		path = path[:len(path)-1]
		marks[name] = visited
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(specs)) {
		if err := visit(name); err != nil {
			return err
		}
	}
	return nil
}

// heights returns for each member how many members in a row must end before it: 0 for one
// that no other member needs.
func heights(specs map[string]Spec) map[string]int {
	dependents := make(map[string][]string)
	for name, s := range specs {
		for _, need := range s.Needs {
			dependents[need] = append(dependents[need], name)
		}
	}
	known := make(map[string]int, len(specs))
	var height func(name string) int
	height = func(name string) int {
		if h, ok := known[name]; ok {
			return h
		}
		h := 0
		for _, d := range dependents[name] {
			h = max(h, height(d)+1)
		}
		known[name] = h
		return h
	}
	for name := range specs {
		height(name)
	}
	return known
}
