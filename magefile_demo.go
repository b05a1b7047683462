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

	demoFile  = "README.md"
	demoQuery = "PLUGWIRE"
	demoLimit = "3"

	excerptLines = 10
	excerptWidth = 100 // characters
)

// Demo runs a host that starts a plugin and sends it README.md, and prints what came back.
func Demo(ctx context.Context) error {
	if err := build(ctx, func(m module) bool { return filepath.ToSlash(m.dir) == demoModule }); err != nil {
		return err
	}
	host := []string{
		"bin/dataprocessor-host", "-plugin", "bin/dataprocessor-plugin", "-json", "process",
		"-option", "uppercase=true", "-tag", "demo", "-query", demoQuery, "-limit", demoLimit, demoFile,
	}
	fmt.Println("$", strings.Join(host, " "))
	out, err := root.output(ctx, host...)
	if err != nil {
		return err
	}
	objects, err := parseObjects(out)
	if err != nil {
		return err
	}
	return showObjects(objects)
}

// An object is a line of dataprocessor-host -json. Its type says which of the
// other fields it has.
type object struct {
	Type string `json:"type"`

	// Of a connection. Version is a number here and a string in a status.
	Protocol  string `json:"protocol"`
	Version   any    `json:"version"`
	Transport string `json:"transport"`
	Security  string `json:"security"`
	PID       int    `json:"pid"`
	StartMS   int    `json:"start_ms"`

	Line   int    `json:"line"`   // of a result
	Result string `json:"result"` // of a result
	ID     string `json:"id"`     // of a stored result
	Data   string `json:"data"`   // of a stored result
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
			fmt.Printf("\nnegotiated: protocol %s version %v over %s, secured by %s; plugin %d was ready after %d ms\n",
				o.Protocol, o.Version, o.Transport, o.Security, o.PID, o.StartMS)
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

func excerpt(text string) string {
	if r := []rune(text); len(r) > excerptWidth {
		return string(r[:excerptWidth-1]) + "…"
	}
	return text
}
