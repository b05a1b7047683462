package targets

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
)

// demoTransports are all transports of the samples.
var demoTransports = []string{"unix", "tcp", "quic"}

// Demo runs the four samples over each transport, host and plugin as processes, and prints what was negotiated, measured and done. Then it kills and replaces a plugin under load.
func Demo(ctx context.Context) (err error) {
	wanted := func(m module) bool {
		dir := filepath.ToSlash(m.dir)
		return dir == "plugins/supervised" || slices.ContainsFunc(samples, func(s sample) bool { return dir == path.Join("plugins", s.name) })
	}
	if err := build(ctx, wanted); err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()

	if err := showLines(ctx); err != nil {
		return err
	}
	fmt.Printf("\nthe four samples over each transport:\n\n")
	fmt.Printf(rowFormat, "SAMPLE", "PROTOCOL", "TRANSPORT", "SESSION", "SECURITY", "READY", "CALL", "DONE")
	for _, s := range samples {
		for _, transport := range demoTransports {
			if err := demonstrate(ctx, s, transport, scratch); err != nil {
				return err
			}
		}
	}
	fmt.Println("\nREADY is from starting the plugin to the first possible call, CALL is the median of 500 small ones.")

	fmt.Printf("\na plugin with 16 callers is killed and replaced:\n\n")
	return root.run(ctx, filepath.Join("bin", "supervised-host"), "-duration", "2s")
}

const (
	excerptLines = 5
	excerptWidth = 100 // characters
)

// showLines sends the first lines of a file to the data processor, and prints what
// was negotiated and what came back.
func showLines(ctx context.Context) error {
	r := runner{sample: samples[0]}
	objects, err := r.host(ctx, "", "process", "-option", "uppercase=true", "-tag", "demo", demoFile)
	if err != nil {
		return err
	}
	c := objects[0]
	fmt.Printf("negotiated: protocol %s version %v over %s, %s session, secured by %s; the plugin was ready after %d ms\n",
		c.Protocol, c.Version, c.Transport, c.Session, c.Security, c.StartMS)
	fmt.Printf("\nwhat came back for the first lines of %s:\n", demoFile)
	shown := 0
	for _, o := range objects {
		if o.Type == "result" && o.Result != "" { // an empty line is not sent
			fmt.Printf("%4d  %s\n", o.Line, excerpt(o.Result))
			shown++
		}
		if shown == excerptLines {
			return nil
		}
	}
	return errors.New("the plugin sent no results")
}

func excerpt(text string) string {
	if r := []rune(text); len(r) > excerptWidth {
		return string(r[:excerptWidth-1]) + "…"
	}
	return text
}

// rowFormat has room for everything that the samples negotiate.
const rowFormat = "%-13s  %-11s  %-9s  %-7s  %-8s  %6s  %6s  %s\n"

// demonstrate runs the sample over the transport, measures calls, and prints a row
// of the table.
func demonstrate(ctx context.Context, s sample, transport, scratch string) error {
	dir := filepath.Join(scratch, s.name+"-"+transport)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	run := runner{sample: s, dir: dir, flags: []string{"-transports", transport}}
	done, err := s.work(ctx, run)
	if err != nil {
		return err
	}
	objects, err := run.host(ctx, "", "ping")
	if err != nil {
		return err
	}
	c, l := objects[0], objects[len(objects)-1]
	fmt.Printf(rowFormat, s.name, fmt.Sprintf("%s/%v", c.Protocol, c.Version), c.Transport, c.Session, c.Security,
		fmt.Sprintf("%d ms", c.StartMS), fmt.Sprintf("%.0f us", l.MedianUS), done)
	return nil
}
