package targets

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// demoFile is the file that the samples work with.
const demoFile = "README.md"

// A sample is one of the modules in plugins that has a plugin and a host with a
// command line (plugins/hostcli).
type sample struct {
	name  string                                              // the directory, and the commands without -host and -plugin
	flags func(dir string) []string                           // flags that its host always needs; dir is for its files
	work  func(ctx context.Context, r runner) (string, error) // does what the sample is made for; returns the outcome in a few words
}

var samples = []sample{
	{"dataprocessor", noFlags, processLines},
	{"multiservice", func(dir string) []string { return []string{"-dir", dir} }, storeLines},
	{"versioned", noFlags, speakBoth},
	{"streaming", func(dir string) []string { return []string{"-root", dir} }, copyFile},
}

func noFlags(string) []string { return nil }

// A runner runs a sample's host.
type runner struct {
	sample sample
	bin    string   // directory of the commands; empty for the one that build fills
	dir    string   // for the sample's files
	flags  []string // for all of its commands
}

// host runs the host with input and returns what it prints with -json. The first
// object is the connection.
func (r runner) host(ctx context.Context, input string, args ...string) ([]object, error) {
	bin := r.bin
	if bin == "" {
		bin = "bin"
	}
	name := r.sample.name + "-host"
	line := append([]string{filepath.Join(bin, name), "-json"}, r.sample.flags(r.dir)...)
	line = append(append(line, r.flags...), args...)
	cmd := root.command(ctx, line)
	cmd.Stdin = strings.NewReader(input)
	cmd.Stdout = nil // the function returns it
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(line, " "), err, out)
	}
	objects, err := parseObjects(string(out))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(objects) < 2 || objects[0].Type != "connection" {
		return nil, fmt.Errorf("%s has printed no connection, or nothing after it:\n%s", strings.Join(line, " "), out)
	}
	return objects, nil
}

// An object is a line of a host's output with -json. Its type decides which
// other fields it has.
type object struct {
	Type string `json:"type"`

	// Fields of a connection.
	Protocol  string `json:"protocol"`
	Transport string `json:"transport"`
	Session   string `json:"session"`
	Security  string `json:"security"`
	StartMS   int    `json:"start_ms"`
	// A number in a connection and in an entry, a text in a status.
	Version any `json:"version"`

	MedianUS float64 `json:"median_us"` // of a latency
	Line     int     `json:"line"`      // of a result of dataprocessor
	Result   string  `json:"result"`    // of a result
	Text     string  `json:"text"`      // of a message
}

func parseObjects(out string) ([]object, error) {
	var objects []object
	for line := range strings.Lines(out) {
		var o object
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			return nil, fmt.Errorf("%w in %q", err, line)
		}
		objects = append(objects, o)
	}
	return objects, nil
}

// count returns how many objects have the type.
func count(objects []object, kind string) (n int) {
	for _, o := range objects {
		if o.Type == kind {
			n++
		}
	}
	return n
}

// processLines sends a file to the data processor line by line.
func processLines(ctx context.Context, r runner) (string, error) {
	objects, err := r.host(ctx, "", "process", "-option", "uppercase=true", "-query", "PLUGWIRE", demoFile)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("processed %d lines, then streamed %d results", count(objects, "result"), count(objects, "stored")), nil
}

// storeLines makes users, stores lines under keys, and queries some.
func storeLines(ctx context.Context, r runner) (string, error) {
	if _, err := r.host(ctx, "", "create-user", "-role", "admin", "ann"); err != nil {
		return "", err
	}
	if _, err := r.host(ctx, "", "create-user", "-role", "writer", "-as", "ann", "bob"); err != nil {
		return "", err
	}
	const entries = 100
	var lines strings.Builder
	for i := range entries {
		fmt.Fprintf(&lines, "key/%02d\tvalue %d\n", i, i)
	}
	if _, err := r.host(ctx, lines.String(), "import", "-as", "bob", "-"); err != nil {
		return "", err
	}
	found, err := r.host(ctx, "", "query", "-as", "ann", "key/1") // by another process of the plugin
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("stored %d entries, then found %d by prefix", entries, count(found, "entry")), nil
}

// speakBoth does the same work in both versions of the protocol.
func speakBoth(ctx context.Context, r runner) (string, error) {
	var results []string
	for i, versions := range []string{"1", "1,2"} {
		objects, err := r.host(ctx, "", "-versions", versions, "process", "-do", "uppercase", "-do", "sort", demoFile)
		if err != nil {
			return "", err
		}
		if got := objects[0].Version; got != float64(i+1) {
			return "", fmt.Errorf("a host with the versions %s got version %v", versions, got)
		}
		results = append(results, objects[1].Result)
	}
	if results[0] != results[1] {
		return "", errors.New("versions 1 and 2 have different results")
	}
	return "sorted a file by version 1 and by version 2 of its protocol", nil
}

// copyFile puts a file, gets it back and compares.
func copyFile(ctx context.Context, r runner) (string, error) {
	if _, err := r.host(ctx, "", "put", demoFile, "copy.md"); err != nil {
		return "", err
	}
	back := filepath.Join(r.dir, "back.md")
	if _, err := r.host(ctx, "", "get", "copy.md", back); err != nil {
		return "", err
	}
	want, err := os.ReadFile(demoFile)
	if err != nil {
		return "", err
	}
	got, err := os.ReadFile(back)
	if err != nil {
		return "", err
	}
	if !bytes.Equal(want, got) {
		return "", errors.New("the file that came back differs")
	}
	chat, err := r.host(ctx, "/calc 6*7\n", "chat", "-user", "ann")
	if err != nil {
		return "", err
	}
	reply := chat[len(chat)-1].Text
	if reply != "42" {
		return "", fmt.Errorf("the assistant replied %q", reply)
	}
	return fmt.Sprintf("put %d bytes, got them back, and the assistant replied that 6*7 is %s", len(want), reply), nil
}
