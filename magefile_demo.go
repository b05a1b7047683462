//go:build mage

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

const (
	demoModule = "plugins/dataprocessor"
	demoHost   = "bin/dataprocessor-host"
	demoPlugin = "bin/dataprocessor-plugin"

	demoFile  = "README.md"
	demoQuery = "PLUGWIRE"
	demoLimit = "3"

	excerptLines = 10
	excerptWidth = 100 // characters
)

// demoTransports are all that the data processor has.
var demoTransports = []string{"unix", "quic", "tcp"}

// Demo runs a host that starts a plugin and sends it README.md, prints what came back, and measures calls over each transport.
func Demo(ctx context.Context) error {
	if err := build(ctx, func(m module) bool { return filepath.ToSlash(m.dir) == demoModule }); err != nil {
		return err
	}
	objects, err := runDemo(ctx, "process",
		"-option", "uppercase=true", "-tag", "demo", "-query", demoQuery, "-limit", demoLimit, demoFile)
	if err != nil {
		return err
	}
	if err := showObjects(objects); err != nil {
		return err
	}
	fmt.Println()
	var lines []string
	for _, transport := range demoTransports {
		objects, err := runDemo(ctx, "ping", "-transports", transport)
		if err != nil {
			return err
		}
		line, err := describePing(objects)
		if err != nil {
			return err
		}
		lines = append(lines, line)
	}
	fmt.Printf("\nthe same plugin over each transport:\n%s\n", strings.Join(lines, "\n"))
	return nil
}

// runDemo runs the host and returns what it wrote.
func runDemo(ctx context.Context, args ...string) ([]object, error) {
	host := append([]string{demoHost, "-plugin", demoPlugin, "-json"}, args...)
	fmt.Println("$", strings.Join(host, " "))
	out, err := root.output(ctx, host...)
	if err != nil {
		return nil, err
	}
	return parseObjects(out)
}

// An object is a line of dataprocessor-host -json. Its type says which of the
// other fields it has.
type object struct {
	Type string `json:"type"`

	// Of a connection. Version is a number here and a string in a status.
	Protocol  string `json:"protocol"`
	Version   any    `json:"version"`
	Transport string `json:"transport"`
	Session   string `json:"session"`
	Security  string `json:"security"`
	PID       int    `json:"pid"`
	StartMS   int    `json:"start_ms"`

	Line   int    `json:"line"`   // of a result
	Result string `json:"result"` // of a result
	ID     string `json:"id"`     // of a stored result
	Data   string `json:"data"`   // of a stored result

	// Of a latency.
	Calls    int     `json:"calls"`
	MedianUS float64 `json:"median_us"`
}

func parseObjects(out string) ([]object, error) {
	var objects []object
	for line := range strings.Lines(out) {
		var o object
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			return nil, fmt.Errorf("dataprocessor-host: %w in %q", err, line)
		}
		objects = append(objects, o)
	}
	return objects, nil
}

// showObjects prints what the host wrote, in a form for people.
func showObjects(objects []object) error {
	var results, stored int
	for _, o := range objects {
		switch {
		case o.Type == "connection":
			fmt.Printf("\nnegotiated: protocol %s version %v over %s, %s session, secured by %s; plugin %d was ready after %d ms\n",
				o.Protocol, o.Version, o.Transport, o.Session, o.Security, o.PID, o.StartMS)
			fmt.Printf("\nwhat came back for the first lines of %s:\n", demoFile)
		case o.Type == "result" && o.Result != "": // an empty line is not sent
			results++
			if results <= excerptLines {
				fmt.Printf("%4d  %s\n", o.Line, excerpt(o.Result))
			}
		case o.Type == "stored":
			stored++
			if stored == 1 {
				fmt.Printf("\nthe newest stored results with %s in them:\n", demoQuery)
			}
			fmt.Printf("%4s  %s\n", o.ID, excerpt(o.Data))
		}
	}
	if results == 0 || stored == 0 {
		return errors.New("the plugin sent no results")
	}
	fmt.Printf("\n%d results from unary calls, %d from a stream\n", results, stored)
	return nil
}

// describePing returns what was negotiated and measured, in one line.
func describePing(objects []object) (string, error) {
	if len(objects) != 2 || objects[0].Type != "connection" || objects[1].Type != "latency" {
		return "", errors.New("dataprocessor-host: ping printed no connection and latency")
	}
	c, l := objects[0], objects[1]
	return fmt.Sprintf("  %-7s %-6s session, secured by %-8s  ready after %3d ms, a unary call takes %6.1f us (median of %d)",
		c.Transport, c.Session, c.Security, c.StartMS, l.MedianUS, l.Calls), nil
}

func excerpt(text string) string {
	if r := []rune(text); len(r) > excerptWidth {
		return string(r[:excerptWidth-1]) + "…"
	}
	return text
}
