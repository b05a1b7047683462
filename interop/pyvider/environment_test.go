//go:build unix

package pyvider_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

const (
	// python runs in the virtual environment that .ci/run makes. The directory is
	// not a part of the repository.
	python = ".venv/bin/python"

	// missing is the reason for a skip. It fits into a line of the output of go
	// tool mage test.
	missing = "pyvider-rpcplugin is not here, and interop/README.md says how to install it"

	// sample is the directory of the service's .proto file.
	sample = "../../plugins/dataprocessor/example"
)

// checkPins fails unless the environment has the versions in requirements.txt.
const checkPins = `
import importlib.metadata, re
for name, version in re.findall(r"^([\w.-]+)==(\S+)", open("requirements.txt").read(), re.M):
    found = importlib.metadata.version(name)
    assert found == version, f"{name} is {found}, not {version}"
`

// environment returns the directory of the generated Python code, which it makes
// once. It returns an error if the virtual environment is not complete.
var environment = sync.OnceValues(func() (generated string, err error) {
	if out, err := exec.Command(python, "-c", checkPins).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s\n%w\n%s", missing, err, out)
	}
	generated = filepath.Join(scratch, "generated")
	if err := os.Mkdir(generated, 0o700); err != nil {
		return "", err
	}
	generate := exec.Command(python, "-m", "grpc_tools.protoc", "-I", sample, "--python_out", generated, "--grpc_python_out", generated, "dataprocessor.proto")
	if out, err := generate.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", generate, err, out)
	}
	return generated, nil
})

// require skips a test if the environment is not on this machine. In CI a
// missing environment is an error.
func require(t *testing.T) {
	t.Helper()
	// go test caches results, so it has to see the files that they depend on.
	for _, dir := range []string{".", sample} {
		if _, err := os.ReadDir(dir); err != nil {
			t.Fatal(err)
		}
	}
	_, err := environment()
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatal(err)
	default:
		summary.lack(missing)
		t.Skip(err)
	}
}

// script returns the command of a program here, with its arguments and
// variables.
func script(t *testing.T, args, env []string) *exec.Cmd {
	t.Helper()
	generated, err := environment()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, args...)
	cmd.Env = append(os.Environ(), "PYTHONPATH="+generated, "PYTHONDONTWRITEBYTECODE=1")
	cmd.Env = append(cmd.Env, env...)
	return cmd
}
