// Command bench measures calls over Plugwire beside plain grpc-go, between the
// same two processes and in the same minute, and prints the ratios. The
// machines that it runs on are noisy: only the ratios mean anything.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"text/tabwriter"
	"time"
)

// role is the first argument of the processes that bench starts of itself.
const (
	rolePlugin = "plugin" // serves by Plugwire, and by plain grpc-go beside it
	rolePlain  = "plain"  // serves by plain grpc-go only
)

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case rolePlugin:
			servePlugin()
			return
		case rolePlain:
			exit(servePlain(os.Args[2]))
		}
	}
	cfg := config{run: regexp.MustCompile("")}
	asJSON := flag.Bool("json", false, "print one JSON object a line instead of a table")
	flag.IntVar(&cfg.rounds, "rounds", 15, "how often each measurement is repeated, each time beside its counterpart")
	flag.DurationVar(&cfg.slice, "slice", 200*time.Millisecond, "how long one round of one side lasts")
	flag.Func("run", "measure only what has a name that matches this `regexp`", func(s string) (err error) {
		cfg.run, err = regexp.Compile(s)
		return err
	})
	flag.Usage = func() {
		_, _ = io.WriteString(flag.CommandLine.Output(), "usage: bench [-json] [-rounds N] [-slice D] [-run REGEXP]\n\nMeasures Plugwire beside plain grpc-go over a unix socket and prints ratios.\n\n")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() > 0 || cfg.rounds < 1 || cfg.slice <= 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	results, err := measure(ctx, cfg, func(name string) { fmt.Fprintln(os.Stderr, "measuring:", name) })
	if err == nil {
		err = write(os.Stdout, results, *asJSON)
	}
	exit(err)
}

func exit(err error) {
	switch {
	case err == nil:
		os.Exit(0)
	case errors.Is(err, context.Canceled):
		os.Exit(130)
	default:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// result is one line of the table. Lower is better for every unit.
type result struct {
	Name     string  `json:"name"`
	Unit     string  `json:"unit"`
	Plugwire float64 `json:"plugwire"`
	Plain    float64 `json:"plain"`
	Ratio    float64 `json:"ratio"`
	Aim      string  `json:"aim"`
	Met      bool    `json:"met"`
}

func write(w io.Writer, results []result, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(w)
		for _, r := range results {
			if err := enc.Encode(r); err != nil {
				return err
			}
		}
		return nil
	}
	var table strings.Builder
	table.WriteString("measurement\tunit\tplugwire\tgrpc-go\tratio\taim\tmet\t\n")
	for _, r := range results {
		met := "yes"
		if !r.Met {
			met = "no"
		}
		fmt.Fprintf(&table, "%s\t%s\t%.1f\t%.1f\t%.2f\t%s\t%s\t\n", r.Name, r.Unit, r.Plugwire, r.Plain, r.Ratio, r.Aim, met)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	if _, err := io.WriteString(tw, table.String()); err != nil {
		return err
	}
	return tw.Flush()
}
