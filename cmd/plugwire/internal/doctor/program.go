package doctor

import (
	"bytes"
	"debug/buildinfo"
	"fmt"
	"io"
	"os"
)

// checkProgram describes the program's file. It reports false if the start will say what
// is wrong with the file.
func checkProgram(path string) (text string, good bool) {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return "", false
	}
	kind := "a program"
	switch build, err := buildinfo.ReadFile(path); {
	case err == nil:
		kind = "built with " + build.GoVersion
	case isScript(path):
		kind = "a script"
	}
	return fmt.Sprintf("%s, %s", path, kind), true
}

// isScript reports whether the file begins with the name of an interpreter.
func isScript(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close() //nolint:errcheck // opened for reading
	head := make([]byte, 2)
	_, err = io.ReadFull(f, head)
	return err == nil && bytes.Equal(head, []byte("#!"))
}
