// Package stacks finds where the handlers of a method are, in a process that goes on.
//
// Each goroutine that runs a handler has a label with the method's name, and so have the
// goroutines that the handler starts. The profile of the runtime shows labels beside
// stacks. It stops the process for as long as a garbage collection does.
package stacks

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"runtime/pprof"
	"strings"
	"sync"
	"time"
)

// key is the key of the label. Profiles of the processor have it too, so that a person can
// see which methods cost what.
const key = "rpc.method"

// Label is what a goroutine has while it runs a handler of one method.
type Label struct {
	ctx context.Context //nolint:containedctx // pprof keeps labels in a context
}

// LabelOf returns the label of a method. It allocates: make it once.
func LabelOf(method string) Label {
	return Label{pprof.WithLabels(context.Background(), pprof.Labels(key, method))}
}

// Set gives the label to this goroutine.
func (l Label) Set() { pprof.SetGoroutineLabels(l.ctx) }

// Clear takes the label from this goroutine.
func Clear() { pprof.SetGoroutineLabels(context.Background()) }

const (
	// interval bounds how often a process takes its stacks: each time costs a stop of the
	// world and some microseconds for each goroutine.
	interval = time.Second
	// maxText bounds the text, in bytes. A person reads it in an error or a log record. It is
	// room for about a hundred frames.
	maxText = 16 << 10
)

// Taker takes stacks, but not too often. The zero value is ready.
type Taker struct {
	mu   sync.Mutex // guards last
	last time.Time
}

// Take returns the stacks of the goroutines that have the label of a method, or any label
// if the method is empty. The text is empty if there are none, or if the last call was
// less than a second ago.
func (t *Taker) Take(method string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.last) < interval {
		return ""
	}
	var profile bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
		return "" // a buffer takes all
	}
	t.last = time.Now()
	return format(&profile, method)
}

// group is goroutines with the same stack and the same labels.
type group struct {
	goroutines int
	method     string
	frames     []string
}

// format returns the groups of a profile with the label of a method. The profile is the text
// that runtime/pprof writes for people. Each group has a line with the number of goroutines, a
// line with labels, a line for each frame, and an empty line.
func format(profile *bytes.Buffer, method string) string {
	var out strings.Builder
	var g group
	left := 0
	flush := func() {
		defer func() { g = group{} }()
		if g.method == "" || method != "" && g.method != method {
			return
		}
		text := g.String()
		if out.Len()+len(text) > maxText {
			left += g.goroutines
			return
		}
		out.WriteString(text)
	}
	lines := bufio.NewScanner(profile)
	for lines.Scan() {
		g.add(lines.Text(), flush)
	}
	flush()
	if left > 0 {
		fmt.Fprintf(&out, "and %d more goroutines\n", left)
	}
	return out.String()
}

// add takes one line of a profile. A group ends with an empty line.
func (g *group) add(line string, flush func()) {
	switch {
	case line == "":
		flush()
	case strings.HasPrefix(line, "# labels: "):
		var labels map[string]string
		if json.Unmarshal([]byte(strings.TrimPrefix(line, "# labels: ")), &labels) == nil {
			g.method = labels[key]
		}
	case strings.HasPrefix(line, "#\t"):
		if fields := strings.Split(line, "\t"); len(fields) >= 4 {
			g.frames = append(g.frames, fields[2]+"\n\t"+fields[len(fields)-1])
		}
	default:
		_, _ = fmt.Sscanf(line, "%d @", &g.goroutines) // the first line of the profile has another form
	}
}

func (g *group) String() string {
	return fmt.Sprintf("%d in a handler of %s:\n%s\n\n", g.goroutines, g.method, strings.Join(g.frames, "\n"))
}
