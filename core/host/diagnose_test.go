package host

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// TestDescribeFormat checks files that no system executes.
func TestDescribeFormat(t *testing.T) {
	t.Parallel()
	elf := func(order binary.AppendByteOrder, data byte, machine uint16) []byte {
		b := append([]byte{0x7f, 'E', 'L', 'F', 2, data}, make([]byte, 12)...)
		return append(order.AppendUint16(b, machine), 0, 0, 0, 0)
	}
	for name, tt := range map[string]struct {
		content []byte
		want    string
	}{
		"empty":         {nil, "the file is empty"},
		"one byte":      {[]byte("M"), "it is neither a program of this system nor a script"},
		"half a header": {elf(binary.LittleEndian, 1, 62)[:19], "it is neither a program of this system nor a script"},
		"little endian": {elf(binary.LittleEndian, 1, 243), "it is an ELF binary for riscv64, and this system is " + runtime.GOOS + "/" + runtime.GOARCH + ": build it with GOARCH=" + runtime.GOARCH},
		"big endian":    {elf(binary.BigEndian, 2, 22), "it is an ELF binary for s390x"},
		"unknown":       {elf(binary.LittleEndian, 1, 9999), "it is an ELF binary for machine 9999"},
		"Windows":       {[]byte("MZ"), "it is a Windows program"},
		"macOS":         {[]byte{0xcf, 0xfa, 0xed, 0xfe}, "it is a macOS binary"},
		"text":          {[]byte("hello"), "it is neither a program of this system nor a script that begins with #!"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(path, tt.content, 0o600); err != nil {
				t.Fatal(err)
			}
			if got := describeFormat(path); !strings.Contains(got, tt.want) {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func TestMissingInterpreter(t *testing.T) {
	t.Parallel()
	for content, want := range map[string]string{
		"#!/no/such/sh\nexit\n":         "its interpreter /no/such/sh is not",
		"#! /no/such/python -u\n":       "its interpreter /no/such/python is not",
		"#!/no/such/sh":                 "its interpreter /no/such/sh is not",
		"#!/no/such/sh\r\necho\r\n":     "its first line ends in a carriage return",
		"\x7fELF and so on to some end": "the loader that it was linked for is not",
	} {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := missingInterpreter(path); !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", content, got, want)
		}
	}
}

// TestDiagnose checks errors that are not about a file, and one about a file whose path
// is relative to the plugin's working directory.
func TestDiagnose(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "plugin"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		err  error
		dir  string
		want string
	}{
		{errors.New("anything"), "", ""},
		{&fs.PathError{Op: "fork/exec", Path: "plugin", Err: errors.New("anything")}, "", ""},
		{os.NewSyscallError("pipe2", syscall.EMFILE), "", "ulimit -n"},
		{&fs.PathError{Op: "open", Path: os.DevNull, Err: fs.ErrNotExist}, "", "host.WithStdin"},
		{&exec.Error{Name: "plugin", Err: exec.ErrNotFound}, "", "give exec.Command the path of the plugin"},
		{&exec.Error{Name: "plugin", Err: exec.ErrDot}, "", "such as ./plugin"},
		{&fs.PathError{Op: "fork/exec", Path: "plugin", Err: fs.ErrPermission}, dir, "the file is not executable"},
		{&fs.PathError{Op: "fork/exec", Path: "nothing", Err: fs.ErrNotExist}, dir, "check the path"},
		{&fs.PathError{Op: "fork/exec", Path: "plugin", Err: fs.ErrNotExist}, "/no/such", "the working directory /no/such does not exist"},
	} {
		path := "plugin"
		if pathErr, ok := errors.AsType[*fs.PathError](tt.err); ok {
			path = pathErr.Path
		}
		got := diagnose(tt.err, program{path: path, dir: tt.dir})
		if !strings.Contains(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("%v in %q: %q, want %q", tt.err, tt.dir, got, tt.want)
		}
	}
}

// TestDiagnoseOther checks errors about other files than the program's, which is
// missing too.
func TestDiagnoseOther(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/run/other", "/proc/self/fd/7", "memory"} {
		for _, cause := range []error{fs.ErrNotExist, fs.ErrPermission, syscall.ENOEXEC, syscall.ENOSPC} {
			err := &fs.PathError{Op: "open", Path: path, Err: cause}
			if got := diagnose(err, program{path: "/no/such/plugin"}); got != "" {
				t.Errorf("%v: %q", err, got)
			}
		}
	}
}
