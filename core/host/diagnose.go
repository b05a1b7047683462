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

	"github.com/plugwire/plugwire/core/internal/logs"
	"github.com/plugwire/plugwire/core/internal/privdir"
	"github.com/plugwire/plugwire/core/internal/process"
)

// program is what a start runs. An empty string means this process's own.
type program struct {
	path string
	dir  string // its working directory
	root string // its root directory
	user user   // the user that it runs as
}

// file returns the path of the program's file for this process.
func (p program) file() string {
	if filepath.IsAbs(p.path) {
		return p.path
	}
	return filepath.Join(p.dir, p.path) // as exec.Cmd documents it
}

// diagnose says what to do about a start that failed. It looks at the program's file
// only if the error is about that file.
func diagnose(err error, p program) (hint string) {
	switch {
	case errors.Is(err, privdir.ErrDir):
		return hintDir
	case errors.Is(err, exec.ErrNotFound) || errors.Is(err, exec.ErrDot):
		return "give exec.Command the path of the plugin, such as ./plugin"
	case errors.Is(err, syscall.EMFILE):
		return "the host may open no more files: raise its limit (ulimit -n), or look for files that it does not close"
	}
	pathErr, ok := errors.AsType[*fs.PathError](err)
	switch {
	case !ok:
		return ""
	case pathErr.Path == os.DevNull:
		return "the plugin's standard input is " + os.DevNull + ": make that, or give host.WithStdin"
	case !p.isFile(pathErr.Path):
		return ""
	case p.root != "":
		return p.diagnoseRoot()
	}
	if _, wdErr := os.Getwd(); wdErr != nil && !filepath.IsAbs(p.file()) {
		return "the working directory of the host is gone, and the path of the plugin is relative to it"
	}
	if p.dir != "" {
		if info, statErr := os.Stat(p.dir); statErr != nil || !info.IsDir() {
			return "the working directory " + p.dir + " does not exist"
		}
	}
	path := p.file()
	switch {
	case errors.Is(err, syscall.ETXTBSY):
		return describeWriters(path)
	case errors.Is(err, syscall.ENOEXEC):
		return describeFormat(path)
	case errors.Is(err, syscall.E2BIG):
		return "its arguments and environment are larger than this system allows"
	case errors.Is(err, syscall.EAGAIN):
		return fmt.Sprintf("user %d, or this process's container, may have no more processes", p.user.uid)
	case errors.Is(err, fs.ErrNotExist):
		if _, statErr := os.Stat(path); statErr != nil {
			return "check the path of the plugin, and that it was built"
		}
		return "the file is there, but " + missingInterpreter(path)
	case errors.Is(err, fs.ErrPermission):
		return p.diagnosePermission(err)
	default:
		return ""
	}
}

// hintDir is for every error of the private directory.
const hintDir = "set XDG_RUNTIME_DIR or TMPDIR of the host to a directory in which it may write, and that no other user can rename or replace"

// isFile reports whether an error about path is about the program's file.
func (p program) isFile(path string) bool {
	if path == p.path || path == p.file() {
		return true
	}
	abs, err := filepath.Abs(p.file())
	return err == nil && path == abs
}

// diagnoseRoot says what may be wrong with a program in another root directory, where
// paths mean something else.
func (p program) diagnoseRoot() string {
	if info, err := os.Stat(p.root); err != nil || !info.IsDir() {
		return "the root directory " + p.root + " (SysProcAttr.Chroot) does not exist"
	}
	return fmt.Sprintf("the path of the plugin, its interpreter or loader, and its working directory must be below %s (SysProcAttr.Chroot), which only root can set", p.root)
}

// diagnosePermission says why the program may not be executed.
func (p program) diagnosePermission(err error) string {
	if errors.Is(err, syscall.EPERM) && p.user.other {
		return fmt.Sprintf("only root may start a process as another user (SysProcAttr.Credential asks for user %d), and this process runs as user %d", p.user.uid, os.Geteuid())
	}
	path := p.file()
	if closed := p.user.stoppedAt(path); closed != "" {
		return fmt.Sprintf("the plugin would run as user %d, which cannot enter %s", p.user.uid, closed)
	}
	if p.dir != "" {
		if closed := p.user.stoppedAt(filepath.Join(p.dir, "file")); closed != "" {
			return fmt.Sprintf("the plugin would run as user %d, which cannot enter %s, which is on the way to the working directory", p.user.uid, closed)
		}
	}
	info, statErr := os.Stat(path)
	switch {
	case statErr == nil && info.IsDir():
		return "it is a directory"
	case statErr == nil && info.Mode().Perm()&0o111 == 0:
		return fmt.Sprintf("the file is not executable (mode %v): chmod +x %s", info.Mode().Perm(), path)
	}
	return fmt.Sprintf("user %d may not execute it, or its file system is mounted noexec", p.user.uid)
}

// headLen is how many bytes of a file tell its format: the first line of a script, or
// the header of a binary.
const headLen = 256

func head(path string) []byte {
	f, err := process.OpenProgram(path)
	if err != nil {
		return nil
	}
	defer f.Close() //nolint:errcheck // opened for reading
	b := make([]byte, headLen)
	n, _ := io.ReadFull(f, b) // a short file has a short head
	return b[:n]
}

// interpreter returns the first line of a script without its beginning, and the program
// in it that runs the script. It returns empty strings if the file is not a script.
func interpreter(path string) (line, name string) {
	line, ok := strings.CutPrefix(string(head(path)), "#!")
	if !ok {
		return "", ""
	}
	line, _, _ = strings.Cut(line, "\n")
	name, _, _ = strings.Cut(strings.TrimSpace(line), " ")
	return line, name
}

// missingInterpreter names the missing program that the file needs.
func missingInterpreter(path string) string {
	if line, name := interpreter(path); name != "" {
		if strings.HasSuffix(line, "\r") {
			return "its first line ends in a carriage return, which the system takes for a part of the interpreter's name: save it with Unix line ends"
		}
		return fmt.Sprintf("its interpreter %s is not: install that, or correct the script's first line", logs.OneLine(name))
	}
	return "the loader that it was linked for is not: build it for this system, or statically (CGO_ENABLED=0)"
}

// elfMachines are the ELF machine numbers (gABI, e_machine) of the systems that
// Go builds for.
var elfMachines = map[uint16]string{3: "386", 8: "mips", 20: "ppc", 21: "ppc64", 22: "s390x", 40: "arm", 62: "amd64", 183: "arm64", 243: "riscv64", 258: "loong64"}

// describeFormat describes a file that this system cannot execute.
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
