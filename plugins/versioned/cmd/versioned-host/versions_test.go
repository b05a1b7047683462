package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/plugins/hostcli"
	"github.com/plugwire/plugwire/plugins/hostcli/clitest"
	"github.com/plugwire/plugwire/plugins/versioned/compat"
	"github.com/plugwire/plugwire/plugins/versioned/example"
	"github.com/plugwire/plugwire/plugins/versioned/processor"
	"github.com/plugwire/plugwire/transport/unix"
)

// This test's executable also plays the hosts and plugins of other releases,
// older and newer. These variables of its environment select the role.
const (
	roleVariable     = "VERSIONED_TEST_ROLE" // "host" or "plugin"
	versionsVariable = "VERSIONED_TEST_PLUGIN_VERSIONS"
)

// futureProtocol is a version 3 that equals version 2.
var futureProtocol = protocol.New(example.DataProcessorV2Protocol.Name(), 3, &example.DataProcessorV2_ServiceDesc)

// playRole is the main function of a host or plugin of another release.
func playRole() {
	if os.Getenv(roleVariable) == "host" {
		if err := os.Setenv(roleVariable, "plugin"); err != nil { // remove it for child processes
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		program(append(versions(), version{futureProtocol, newClientV2})).Main()
	}
	newest := processor.New()
	bindings := map[string]protocol.Binding{
		"1": example.ServeDataProcessorV1(compat.NewV1(newest)),
		"2": example.ServeDataProcessorV2(newest),
		"3": protocol.Bind(futureProtocol, futureServer{DataProcessorV2Handler: newest}),
	}
	var served protocol.Binding
	for number := range strings.SplitSeq(os.Getenv(versionsVariable), ",") {
		served = protocol.Join(served, bindings[number])
	}
	plugin.Main(served, plugin.WithTransports(unix.New()))
}

// futureServer is the code that would be generated for a handler of version 3.
type futureServer struct {
	example.DataProcessorV2Handler
	example.UnsafeDataProcessorV2Server
}

// hostCommand returns the host that speaks only the host's versions, with
// arguments to process a file by a plugin that serves only the plugin's
// versions.
func hostCommand(t *testing.T, hostVersions, pluginVersions, file string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	hostPath, role := clitest.Path(name), "plugin"
	if strings.Contains(hostVersions, "3") {
		hostPath, role = self, "host"
	}
	pluginPath := self
	if pluginVersions == "1,2" {
		pluginPath = clitest.Path("versioned-plugin")
	}
	cmd := exec.CommandContext(t.Context(), hostPath, "-json", "-transports", "unix", "-versions", hostVersions, "-plugin", pluginPath,
		"process", "-do", "uppercase", "-do", "sort", file)
	cmd.Env = append(os.Environ(), roleVariable+"="+role, versionsVariable+"="+pluginVersions)
	return cmd
}

// A meeting is the result of running a host with a plugin.
type meeting struct {
	version int // 0 without a common version
	err     string
}

// meet runs a host and its plugin. The host has to do its work.
func meet(t *testing.T, hostVersions, pluginVersions, file string) meeting {
	t.Helper()
	cmd := hostCommand(t, hostVersions, pluginVersions, file)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	output, err := cmd.Output()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatal(err)
	}
	objects := json.NewDecoder(bytes.NewReader(output))
	if err != nil {
		var f hostcli.Failure
		if err := objects.Decode(&f); err != nil {
			t.Fatalf("%v: %v in %q; stderr: %s", cmd, err, output, &stderr)
		}
		return meeting{err: f.Message}
	}
	var c hostcli.Connection
	var r result
	if err := errors.Join(objects.Decode(&c), objects.Decode(&r)); err != nil || objects.More() {
		t.Fatalf("%v: %v in %q", cmd, err, output)
	}
	if r.Result != "A\nB" {
		t.Errorf("host %s, plugin %s: result %q", hostVersions, pluginVersions, r.Result)
	}
	if hasStatistics := r.Statistics != nil; hasStatistics != (c.Version > 1) {
		t.Errorf("host %s, plugin %s: version %d was agreed on, and the result is %+v", hostVersions, pluginVersions, c.Version, r)
	}
	if err := clitest.Exited(c.PID); err != nil {
		t.Error(err)
	}
	return meeting{version: c.Version}
}

// TestVersions runs hosts with plugins of different ages, each a process of its
// own. For released versions it runs the real commands. It prints the table in
// README.md.
func TestVersions(t *testing.T) {
	readme, err := os.ReadFile(filepath.FromSlash("../../README.md"))
	if err != nil {
		t.Fatal(err)
	}
	inDirectory(t, map[string]string{"file": "b\na"})
	plugins := []string{"1", "1,2", "2", "3"}
	var table, refusals strings.Builder
	columns := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	row(t, columns, append([]string{"host"}, prefixed("plugin: ", plugins)...))
	for _, tt := range []struct {
		host string
		want []int // with each plugin, 0 for a refusal
	}{
		{"1", []int{1, 1, 0, 0}},
		{"2", []int{0, 2, 2, 0}},
		{"1,2", []int{1, 2, 2, 0}},
		{"3", []int{0, 0, 0, 3}},
		{"2,3", []int{0, 2, 2, 3}},
	} {
		cells := []string{tt.host}
		for i, served := range plugins {
			got := meet(t, tt.host, served, "file")
			cell := strconv.Itoa(got.version)
			if got.err != "" {
				cell = "refused"
				fmt.Fprintf(&refusals, "host %s, plugin %s: %s\n", tt.host, served, got.err)
			}
			cells = append(cells, cell)
			if got.version != tt.want[i] {
				t.Errorf("host %s, plugin %s: version %d, want %d; error %q", tt.host, served, got.version, tt.want[i], got.err)
			}
			if want := sides(tt.host, served); got.version == 0 && !strings.Contains(got.err, want) {
				t.Errorf("host %s, plugin %s: the error lacks %q: %s", tt.host, served, want, got.err)
			}
		}
		row(t, columns, cells)
	}
	if err := columns.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s\n%s", &table, &refusals)
	if want := indent(table.String()); !strings.Contains(string(readme), want) {
		t.Errorf("README.md does not have this table:\n%s", want)
	}
}

func prefixed(prefix string, texts []string) []string {
	texts = slices.Clone(texts)
	for i := range texts {
		texts[i] = prefix + texts[i]
	}
	return texts
}

func row(t *testing.T, w io.Writer, cells []string) {
	t.Helper()
	if _, err := fmt.Fprintln(w, strings.Join(cells, "\t")); err != nil {
		t.Fatal(err)
	}
}

// sides is the form in which an error names the versions of both sides.
func sides(hostVersions, pluginVersions string) string {
	return fmt.Sprintf("(host: %s; plugin: %s)", numbers(hostVersions), numbers(pluginVersions))
}

func numbers(list string) string {
	versions := strings.Split(list, ",")
	slices.Reverse(versions)
	word := "version"
	if len(versions) > 1 {
		word = "versions"
	}
	return word + " " + strings.Join(versions, ", ")
}

// indent indents the table like README.md.
func indent(table string) string {
	var indented strings.Builder
	for line := range strings.Lines(table) {
		indented.WriteString("    " + line)
	}
	return indented.String()
}
