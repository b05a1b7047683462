package inspect

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// print prints the report for people.
func (c *command) print(r *Report) error {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		_, _ = fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	process := ""
	if r.PID > 0 {
		process = fmt.Sprintf(", process %d", r.PID)
	}
	row("plugin", "%s%s", r.Plugin, process)
	row("framework", "%s", r.Framework)
	if r.Cookie != "" {
		row("recognized", "%s", r.Cookie)
	}
	switch {
	case r.Protocol != "":
		row("protocol", "%s version %d", r.Protocol, r.Version)
	case r.Version > 0:
		row("protocol", "version %d", r.Version)
	}
	row("transport", "%s", r.Transport)
	if r.Skipped != "" {
		row("skipped", "%s", r.Skipped)
	}
	row("session", "%s", r.Session)
	row("wire", "%s", r.Wire)
	row("security", "%s", r.Security)
	if cert := r.Certificate; cert != nil {
		row("certificate", "%s, %s, until %s", cert.Subject, cert.Key, cert.NotAfter.Format("2006-01-02"))
	}
	row("health", "%s", r.Health)
	if s := r.Start; s != nil {
		var phases []string
		for _, phase := range s.Phases {
			phases = append(phases, fmt.Sprintf("%s %.1f", phase.Name, phase.Milliseconds))
		}
		row("start", "%.1f ms: %s", s.Milliseconds, strings.Join(phases, ", "))
	}
	if r.Memory != nil {
		const mib = 1 << 20
		row("memory", "%.1f MiB", float64(r.Memory.Resident)/mib)
	}
	if r.Build != nil {
		row("built", "%s, %s %s", r.Build.Go, r.Build.Path, r.Build.Version)
		for _, name := range slices.Sorted(maps.Keys(r.Build.Frameworks)) {
			row("with", "%s %s", name, r.Build.Frameworks[name])
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if r.NoServices != "" {
		fmt.Fprintf(&b, "\n%s\n", r.NoServices)
	}
	for _, s := range r.Services {
		fmt.Fprintf(&b, "\n%s\n", s.Name)
		if s.Undescribed {
			fmt.Fprintln(&b, "  its methods are not described by the plugin's reflection")
		}
		for _, m := range s.Methods {
			_, _ = fmt.Fprintf(w, "  %s\t%s\t%s -> %s\n", m.Name, m.Kind, m.Input, m.Output)
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	if c.messages {
		for _, m := range r.Messages {
			fmt.Fprintf(&b, "\n%s\n", m.Name)
			for _, f := range m.Fields {
				_, _ = fmt.Fprintf(w, "  %d\t%s\t%s\n", f.Number, f.Name, f.Type)
			}
			if err := w.Flush(); err != nil {
				return err
			}
		}
	}
	return c.out.Text(b.String())
}
