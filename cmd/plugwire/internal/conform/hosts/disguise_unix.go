//go:build unix

package hosts

import (
	"fmt"
	"path/filepath"
	"strings"
)

// disguise returns a script that becomes the probe. A host may read the build information of
// a plugin that is a Go program, as Plugwire's own does, and then offers only what a plugin
// on that framework needs. About a script it knows nothing.
func disguise(dir, program string) (string, error) {
	script := filepath.Join(dir, "plugin")
	quoted := "'" + strings.ReplaceAll(program, "'", `'\''`) + "'"
	return script, writeProgram(script, strings.NewReader(fmt.Sprintf("#!/bin/sh\nexec %s \"$@\"\n", quoted)))
}
