package console

import (
	"context"
	"fmt"
	"io"

	"github.com/plugwire/plugwire/core/host"
)

// PrintServices prints what a running plugin serves.
func PrintServices(ctx context.Context, w io.Writer, p *host.Plugin) error {
	services, err := p.Services(ctx)
	for _, s := range services {
		fmt.Fprintln(w, s.Name, s.File, len(s.Methods))
	}
	return err
}
