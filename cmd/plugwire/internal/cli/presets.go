package cli

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/output"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/preset"
)

// presetObject is a preset in JSON.
type presetObject struct {
	Name     string `json:"name"`
	About    string `json:"about"`
	Cookie   string `json:"cookie"`
	Versions []int  `json:"versions"`
}

func newPresets(out *output.Printer) *cobra.Command {
	return &cobra.Command{
		Use:   "presets",
		Short: "List the applications whose cookies and versions -preset knows",
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return output.Usage("presets takes no arguments")
			}
			var b strings.Builder
			w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
			for _, p := range preset.All() {
				o := presetObject{p.Name, p.About, p.Cookie + "=" + p.Value, p.Versions}
				if out.JSON {
					if err := out.Object(o); err != nil {
						return err
					}
					continue
				}
				_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", p.Name, strings.Trim(strings.Join(strings.Fields(fmt.Sprint(p.Versions)), ","), "[]"), p.About)
			}
			if err := w.Flush(); err != nil {
				return err
			}
			return out.Text(b.String())
		},
	}
}
