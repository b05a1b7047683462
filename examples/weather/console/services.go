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
	if err != nil {
		return err
	}
	for _, s := range services {
		if _, err := fmt.Fprintln(w, s.Name, s.File, len(s.Methods)); err != nil {
			return err
		}
	}
	return nil
}
