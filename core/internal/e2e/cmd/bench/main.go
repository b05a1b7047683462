// Command bench compares the cost of calls: over Plugwire and over plain
// grpc-go, and over one transport and another. It measures the sides of a
// comparison alternately, in the same minute, and prints their ratio. The
// machines that it runs on are noisy: only the ratios are meaningful.
//
// It is the host, and starts itself as the other process of each side.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"time"
)

// role is the first argument when bench starts itself as another process.
const (
	roleEcho   = "echo"   // serves by Plugwire, and by plain grpc-go beside it
	roleDuplex = "duplex" // serves by Plugwire and calls its host back
	rolePlain  = "plain"  // serves by plain grpc-go only
)

type config struct {
	rounds int
	slice  time.Duration
	run    *regexp.Regexp // selects measurements by full name
}

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case roleEcho:
			serveEcho()
			return
		case roleDuplex:
			serveDuplex()
			return
		case rolePlain:
			exit(servePlain(os.Args[2]))
		}
	}
	cfg := config{run: regexp.MustCompile("")}
	asJSON := flag.Bool("json", false, "print JSON objects, one on each line, instead of tables")
	flag.IntVar(&cfg.rounds, "rounds", 15, "how often each measurement is repeated, alternating between the sides")
	flag.DurationVar(&cfg.slice, "slice", 200*time.Millisecond, "how long one round of one side lasts")
	flag.Func("run", "run only measurements whose name, as listed above, matches this `regexp`", func(s string) (err error) {
		cfg.run, err = regexp.Compile(s)
		return err
	})
	flag.Usage = usage
	flag.Parse()
	if flag.NArg() > 0 || cfg.rounds < 1 || cfg.slice <= 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	tables, err := measure(ctx, cfg, func(name string) { fmt.Fprintln(os.Stderr, "measuring:", name) })
	switch {
	case err == nil:
		err = write(os.Stdout, tables, *asJSON)
	case ctx.Err() != nil:
		err = ctx.Err() // any error is a consequence of the signal
	}
	exit(err)
}

func usage() {
	_, _ = io.WriteString(flag.CommandLine.Output(), `usage: bench [-json] [-rounds N] [-slice D] [-run REGEXP]

Measures the cost of calls, and prints for each measurement the medians of its
rounds and their ratio to those of the first side. It measures:

`+names()+`
Flags:
`)
	flag.PrintDefaults()
}

// names lists all measurements.
func names() string {
	var list strings.Builder
	for _, c := range comparisons {
		list.WriteString("  " + c.title + "\n")
		for _, m := range c.measurements {
			list.WriteString("    " + c.full(m.name) + "\n")
		}
		if c.allocs {
			list.WriteString("    " + c.full(allocsName) + "\n")
		}
	}
	return list.String()
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
