//go:build linux

// Package compat_test compares compat/goplugin with hashicorp/go-plugin.
package compat_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The two builds of the program in drill: with hashicorp/go-plugin, and with compat/goplugin
// in its place.
const (
	original = "original"
	ours     = "ours"
)

// scratch is a directory with the programs; set by TestMain.
var scratch string

func TestMain(m *testing.M) {
	code := 1
	err := prepare()
	if err == nil {
		code = m.Run()
	}
	if err = errors.Join(err, os.RemoveAll(scratch)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func prepare() (err error) {
	if scratch, err = os.MkdirTemp("", "cp-"); err != nil { // short, because the path of a socket is limited
		return err
	}
	if err := flag.Set("test.parallel", "16"); err != nil { // the tests mostly wait
		return err
	}
	return errors.Join(build(original), build(ours, "-modfile=compat.mod"), buildOthers(), list(), os.Unsetenv("XDG_RUNTIME_DIR"))
}

func build(name string, flags ...string) error {
	cmd := exec.Command("go", append(append([]string{"build", "-ldflags=-w"}, flags...), "-o", program(name))...)
	cmd.Dir = "drill"
	cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return nil
}

func program(name string) string { return filepath.Join(scratch, name) }

// TestSources reads the sources of what TestMain builds. go test notes which files a test reads,
// though not which TestMain does, and runs the tests again after a change of them.
func TestSources(t *testing.T) {
	if err := readSources("drill", "others", "others/provider", "others/drive", "../../compat/goplugin"); err != nil {
		t.Error(err)
	}
}

func readSources(dirs ...string) error {
	var errs []error
	for _, dir := range dirs {
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		errs = append(errs, err)
		for _, file := range files {
			if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
				_, err = os.ReadFile(file)
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}
