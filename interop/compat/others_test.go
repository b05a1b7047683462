//go:build linux

package compat_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"strings"
	"testing"
)

// othersDir is the module with SDKs that use go-plugin, in which compat/goplugin replaces it.
const othersDir = "others"

// others are the packages whose tests use plugins, and need no network.
var others = []string{
	"github.com/hashicorp/terraform-plugin-go/tfprotov5/tf5server",
	"github.com/hashicorp/terraform-plugin-go/tfprotov6/tf6server",
	"github.com/spiffe/spire-plugin-sdk/plugintest",
	"github.com/terraform-linters/tflint-plugin-sdk/plugin/internal/host2plugin",
	"github.com/terraform-linters/tflint-plugin-sdk/plugin/internal/plugin2host",
}

// buildOthers builds the tests of others, the provider and its host.
func buildOthers() error {
	var errs []error
	for _, pkg := range others {
		errs = append(errs, goAlone("test", "-c", "-vet=off", "-o", program(path.Base(pkg)), pkg))
	}
	return errors.Join(append(errs, goAlone("build", "-o", scratch, "./provider", "./drive"))...)
}

// goAlone runs go in the module of the others, without the workspace.
func goAlone(args ...string) error {
	cmd := exec.Command("go", args...)
	cmd.Dir = othersDir
	cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return nil
}

// TestOthers runs the tests of modules that use go-plugin, with compat/goplugin in its place.
func TestOthers(t *testing.T) {
	t.Parallel()
	for _, pkg := range others {
		t.Run(pkg, func(t *testing.T) {
			t.Parallel()
			list := exec.CommandContext(t.Context(), "go", "-C", othersDir, "list", "-f", "{{.Dir}}", pkg)
			list.Env = append(os.Environ(), "GOWORK=off")
			dir, err := list.Output()
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), hang)
			defer cancel()
			cmd := exec.CommandContext(ctx, program(path.Base(pkg)), "-test.v")
			cmd.Dir = strings.TrimSpace(string(dir)) // for its test data
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			if passed := bytes.Count(out, []byte("--- PASS")); passed == 0 {
				t.Errorf("no test has passed\n%s", out)
			}
		})
	}
}

// applied is what the host of the provider prints: the schema, the configuration, a resource
// that is planned and applied, and one whose handler panics.
const applied = `schema: greetings_card
configured
planned
applied: Hello, world!
planned
apply: rpc error: code = Internal desc = panic in the handler of /tfplugin6.Provider/ApplyResourceChange: there is nobody to greet
`

// TestProvider drives a provider on terraform-plugin-framework that does not mention Plugwire.
func TestProvider(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"plugwire", "compat", "die"} {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), hang)
			defer cancel()
			cmd := exec.CommandContext(ctx, program("drive"), host, program("provider"))
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			err := cmd.Run()
			said, pid, died := strings.Cut(stdout.String(), "pid: ")
			if said != applied || died == (err == nil) {
				t.Errorf("%v\n%s\n%s", err, &stdout, &stderr)
			}
			if died {
				await(t, "/proc/"+strings.TrimSpace(pid)) // nothing is left of a killed host
			}
		})
	}
}
