package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/plugwire/plugwire/bench/internal/measure"
	"github.com/plugwire/plugwire/bench/internal/peers"
)

// number returns about three significant digits.
func number(v float64) string {
	switch a := math.Abs(v); {
	case a >= 1e5:
		return fmt.Sprintf("%.0fk", v/1e3)
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

// String returns the median and the range: "20.1 (17.7-49.7)".
func (s Summary) String() string {
	if s.Min == s.Max {
		return number(s.Median)
	}
	return fmt.Sprintf("%s (%s-%s)", number(s.Median), number(s.Min), number(s.Max))
}

// missing stands for a figure that a framework does not have.
const missing = "-"

// Markdown returns all tables.
func (r *Results) Markdown() string {
	var b strings.Builder
	b.WriteString(r.compare("Frameworks over a unix socket", peers.GoPlugin, r.sockets()))
	for _, wire := range peers.Wires() {
		names := []string{peers.GoPluginMTLS}
		for _, transport := range []string{"unix", "unix-mtls", "tcp", "quic", "socketpair"} {
			names = append(names, peers.Plugwire(wire, transport))
		}
		b.WriteString(r.compare("Plugwire's transports on the wire "+wire, peers.GoPluginMTLS, names))
	}
	b.WriteString(r.compare("go-plugin's API on Plugwire", peers.GoPlugin, []string{peers.GoPlugin, peers.Compat}))
	b.WriteString(r.compare("go-plugin's API on Plugwire, with AutoMTLS", peers.GoPluginMTLS, []string{peers.GoPluginMTLS, peers.CompatMTLS}))
	b.WriteString(r.aims())
	return strings.TrimSuffix(b.String(), "\n")
}

// sockets returns the peers that the first table compares.
func (r *Results) sockets() []string {
	names := []string{peers.Raw, peers.GRPC, peers.GoPlugin, peers.TTRPC, peers.DRPC, peers.ARPC}
	for _, wire := range peers.Wires() {
		names = append(names, peers.Plugwire(wire, "unix"))
	}
	return names
}

// compare returns the table of some peers, with ratios to one of them. It leaves out
// peers and figures that were not measured.
func (r *Results) compare(title, base string, names []string) string {
	names = slices.DeleteFunc(names, func(name string) bool { return len(r.rounds[name]) == 0 })
	header := append([]string{"measure", "unit"}, names...)
	var rows [][]string
	for _, f := range measure.Figures {
		row, measured := []string{f.Title, f.Unit}, false
		for _, name := range names {
			cell := missing
			if s, ok := r.Figure(name, f.Key); ok {
				measured, cell = true, s.String()
				if ratio, ok := r.Ratio(name, base, f.Key); ok && name != base {
					cell += fmt.Sprintf(" **%.2f**", ratio.Median)
				}
			}
			row = append(row, cell)
		}
		if measured {
			rows = append(rows, row)
		}
	}
	if len(rows) == 0 {
		return ""
	}
	return "### " + title + "\n\nBold: ratio to " + base + ".\n\n" + grid(header, rows) + "\n"
}

// aims returns the table of the aims that were measured.
func (r *Results) aims() string {
	var rows [][]string
	for _, a := range Aims() {
		value, met, ok := a.Check(r)
		if !ok {
			continue
		}
		f, _ := measure.Find(a.Key)
		verdict := "yes"
		if !met {
			verdict = "**no**"
		}
		base := a.Base
		if base == "" {
			base = missing
		}
		rows = append(rows, []string{f.Title, a.Peer, base, value.String(), a.String(), verdict})
	}
	if len(rows) == 0 {
		return ""
	}
	return "### Aims\n\n" + grid([]string{"measure", "of", "beside", "ratio or figure", "aim", "met"}, rows) + "\n"
}

// grid returns a Markdown table whose columns also line up on a terminal.
func grid(header []string, rows [][]string) string {
	widths := make([]int, len(header))
	for _, row := range append([][]string{header}, rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	write := func(row []string, fill string) {
		for i, cell := range row {
			b.WriteString("| " + cell + strings.Repeat(fill, widths[i]-utf8.RuneCountInString(cell)) + " ")
		}
		b.WriteString("|\n")
	}
	write(header, " ")
	write(make([]string, len(header)), "-")
	for _, row := range rows {
		write(row, " ")
	}
	return b.String()
}
