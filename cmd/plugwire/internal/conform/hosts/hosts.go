// Package hosts has the rules for hosts in any language.
package hosts

import "github.com/plugwire/plugwire/cmd/plugwire/internal/conform"

// Suite returns the rules.
func Suite() *conform.Suite {
	return &conform.Suite{Kind: "host", Long: "Host starts a program that is a host, and plays the plugins that it starts."}
}
