package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/plugwire/plugwire/core/internal/process"
)

// diagnose turns what the system says of a program that it could not start,
// with dir as its working directory, into words that say what to do. It returns
// none for any other error, but for that of the private directory.
func diagnose(err error, dir string) (hint string) {
	if errors.Is(err, process.ErrDir) {
		return "set XDG_RUNTIME_DIR or TMPDIR of the host to a directory in which it may write"
	}
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, exec.ErrDot) {
		return "give exec.Command the path of the plugin, such as ./plugin"
	}
	var pathErr *fs.PathError
	if !errors.As(err, &pathErr) {
		return ""
	}
	path := pathErr.Path
	if dir != "" {
		if info, statErr := os.Stat(dir); statErr != nil || !info.IsDir() {
			return "the working directory " + dir + " is not there"
		}
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path) // as exec.Cmd documents it
		}
	}
	switch {
	case errors.Is(err, syscall.ETXTBSY):
		return describeWriters(path)
	case errors.Is(err, syscall.ENOEXEC):
		return describeFormat(path)
	case errors.Is(err, fs.ErrNotExist):
		if _, statErr := os.Stat(path); statErr != nil {
			return "check the path of the plugin, and that it was built"
		}
		return "the file is there, but " + missingInterpreter(path)
	case errors.Is(err, fs.ErrPermission):
		if info, statErr := os.Stat(path); statErr == nil && info.IsDir() {
			return "it is a directory"
		} else if statErr == nil && info.Mode().Perm()&0o111 == 0 {
			return fmt.Sprintf("the file is not executable (mode %v): chmod +x %s", info.Mode().Perm(), path)
		}
		return fmt.Sprintf("user %d may not execute it, or its file system is mounted noexec", os.Geteuid())
	default:
		return ""
	}
}

// headLen is how much of a file tells its format: the first line of a script,
// or the header of a binary.
const headLen = 256

func head(path string) []byte {
	f, err := os.Open(path) //nolint:gosec // it is the program that the user names
	if err != nil {
		return nil
	}
	defer f.Close() //nolint:errcheck // opened for reading
	b := make([]byte, headLen)
	n, _ := io.ReadFull(f, b) // a short file has a short head
	return b[:n]
}

// interpreter returns the first line of a script without its beginning, and the program
// in it, which runs the script. It returns nothing if the file is not a script.
func interpreter(path string) (line, name string) {
	line, ok := strings.CutPrefix(string(head(path)), "#!")
	if !ok {
		return "", ""
	}
	line, _, _ = strings.Cut(line, "\n")
	name, _, _ = strings.Cut(strings.TrimSpace(line), " ")
	return line, name
}

// missingInterpreter says which program the file needs that is not there.
func missingInterpreter(path string) string {
	if line, name := interpreter(path); name != "" {
		if strings.HasSuffix(line, "\r") {
			return "its first line ends in a carriage return, which the system takes for a part of the interpreter's name: save it with Unix line ends"
		}
		return fmt.Sprintf("its interpreter %s is not: install that, or correct the script's first line", name)
	}
	return "the loader that it was linked for is not: build it for this system, or statically (CGO_ENABLED=0)"
}

// elfMachines are the ELF machine numbers (gABI, e_machine) of the systems that
// Go builds for.
var elfMachines = map[uint16]string{3: "386", 8: "mips", 20: "ppc", 21: "ppc64", 22: "s390x", 40: "arm", 62: "amd64", 183: "arm64", 243: "riscv64", 258: "loong64"}

// describeFormat says what the file is that this system cannot execute.
func describeFormat(path string) string {
	b := head(path)
	here := runtime.GOOS + "/" + runtime.GOARCH
	const elfHeader = 20 // up to the end of e_machine
	switch {
	case len(b) == 0:
		return "the file is empty"
	case len(b) >= elfHeader && string(b[:4]) == "\x7fELF":
		order := binary.ByteOrder(binary.LittleEndian)
		if b[5] == 2 {
			order = binary.BigEndian
		}
		machine := order.Uint16(b[18:])
		name, ok := elfMachines[machine]
		if !ok {
			name = fmt.Sprintf("machine %d", machine)
		}
		return fmt.Sprintf("it is an ELF binary for %s, and this system is %s: build it with GOARCH=%s", name, here, runtime.GOARCH)
	case string(b[:2]) == "MZ":
		return fmt.Sprintf("it is a Windows program, and this system is %s: build it with GOOS=%s", here, runtime.GOOS)
	case len(b) >= 4 && isMachO(binary.BigEndian.Uint32(b)):
		return fmt.Sprintf("it is a macOS binary, and this system is %s: build it with GOOS=%s", here, runtime.GOOS)
	default:
		return "it is neither a program of this system nor a script that begins with #!"
	}
}

// isMachO recognizes the magic numbers of mach-o/loader.h and mach-o/fat.h.
func isMachO(magic uint32) bool {
	switch magic {
	case 0xfeedface, 0xfeedfacf, 0xcefaedfe, 0xcffaedfe, 0xcafebabe:
		return true
	}
	return false
}
