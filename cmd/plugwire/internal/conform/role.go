package conform

import (
	"fmt"
	"os"
)

// Role is what this program does in a process that a rule needs, such as a host that the
// rule kills.
type Role struct {
	Name string
	// Main is the process. It returns the exit code.
	Main func(args []string) int
}

// roleArg is the first argument of a process that plays a role.
const roleArg = "conform-role"

// RunRole plays the role that the arguments of this process name, and reports whether
// they name one. It is called before everything else, also by tests of rules: there the
// test program is this program.
func RunRole(args []string, suites ...*Suite) (code int, ran bool) {
	if len(args) < 2 || args[0] != roleArg {
		return 0, false
	}
	for _, s := range suites {
		for _, r := range s.Roles {
			if r.Name == args[1] {
				return r.Main(args[2:]), true
			}
		}
	}
	fmt.Fprintf(os.Stderr, "plugwire: there is no role %q\n", args[1])
	return 2, true
}

// RoleCommand returns the command that plays a role.
func (c *Case) RoleCommand(name string, args ...string) ([]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return append([]string{self, roleArg, name}, args...), nil
}
