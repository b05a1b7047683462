package targets

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// demoTransports are all transports of the samples.
var demoTransports = []string{"unix", "tcp", "quic"}

// Demo runs the plugins of four samples over each transport, and prints what was negotiated, measured and done. Then the host of each does its work, and a plugin under load is killed and replaced.
func Demo(ctx context.Context) (err error) {
	wanted := func(m module) bool {
		dir := filepath.ToSlash(m.dir)
		return dir == "cmd/plugwire" || dir == "plugins/supervised" ||
			slices.ContainsFunc(samples, func(s sample) bool { return dir == path.Join("plugins", s.name) })
	}
	if err := build(ctx, wanted); err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()

	fmt.Printf("the plugins of four samples under plugwire, over each transport:\n\n")
	fmt.Printf(rowFormat, "SAMPLE", "PROTOCOL", "TRANSPORT", "SESSION", "SECURITY", "READY", "CALL", "DONE")
	for _, s := range samples {
		for _, transport := range demoTransports {
			if err := demonstrate(ctx, s, transport, scratch); err != nil {
				return err
			}
		}
	}
	fmt.Println("\nREADY is from starting the plugin to the first possible call, CALL is the median of a call of its health.")

	for _, s := range samples {
		if err := showHost(ctx, s.name); err != nil {
			return err
		}
	}
	fmt.Printf("\na plugin with 16 callers is killed and replaced:\n\n")
	return root.run(ctx, filepath.Join("bin", "supervised-host"), "-duration", "2s")
}

const (
	excerptLines = 9
	excerptWidth = 120 // characters
)

// showHost runs the host of the sample, and prints the first lines of its output.
func showHost(ctx context.Context, name string) error {
	out, err := root.output(ctx, filepath.Join("bin", name+"-host"))
	if err != nil {
		return err
	}
	fmt.Printf("\n%s-host prints:\n\n", name)
	lines := strings.Split(out, "\n")
	for _, line := range lines[:min(excerptLines, len(lines))] {
		fmt.Println(excerpt(line))
	}
	if more := len(lines) - excerptLines; more > 0 {
		fmt.Printf("... and %d more lines\n", more)
	}
	return nil
}

func excerpt(text string) string {
	if r := []rune(text); len(r) > excerptWidth {
		return string(r[:excerptWidth-1]) + "…"
	}
	return text
}

// rowFormat has room for everything that the samples negotiate.
const rowFormat = "%-13s  %-11s  %-9s  %-7s  %-8s  %7s  %6s  %s\n"

// demonstrate runs the sample's plugin over the transport, measures calls, and prints a row
// of the table.
func demonstrate(ctx context.Context, s sample, transport, scratch string) error {
	dir := filepath.Join(scratch, s.name+"-"+transport)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	run := runner{sample: s, bin: "bin", dir: dir, flags: []string{"-transport", transport}}
	done, err := s.work(ctx, run)
	if err != nil {
		return err
	}
	var inspected struct {
		Protocol  string `json:"protocol"`
		Version   int    `json:"version"`
		Transport string `json:"transport"`
		Session   string `json:"session"`
		Security  string `json:"security"`
		Start     struct {
			Milliseconds float64 `json:"ms"`
		} `json:"start"`
	}
	if err := run.read(ctx, &inspected, "inspect"); err != nil {
		return err
	}
	var measured struct {
		Sides []struct {
			Latency map[string]float64 `json:"latency_ms"`
		} `json:"sides"`
	}
	if err := run.read(ctx, &measured, "bench", "-callers", "1", "-duration", "100ms"); err != nil {
		return err
	}
	if len(measured.Sides) != 1 {
		return fmt.Errorf("plugwire bench has measured %d plugins, want 1", len(measured.Sides))
	}
	fmt.Printf(rowFormat, s.name, fmt.Sprintf("%s/%d", inspected.Protocol, inspected.Version), inspected.Transport, inspected.Session, inspected.Security,
		fmt.Sprintf("%.1f ms", inspected.Start.Milliseconds), fmt.Sprintf("%.0f us", 1000*measured.Sides[0].Latency["p50"]), done)
	return nil
}

// read runs a command of plugwire with flags, and decodes the object that it prints.
func (r runner) read(ctx context.Context, object any, command string, flags ...string) error {
	r.flags = slices.Concat(r.flags, flags)
	out, err := r.plugwire(ctx, command)
	if err != nil {
		return err
	}
	return json.Unmarshal(out, object)
}
