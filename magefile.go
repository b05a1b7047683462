//go:build mage

// Plugwire's targets. They run at the root of the repository and need nothing but Go, unless they say so. -v shows the commands.
package main

//mage:import
import _ "github.com/plugwire/plugwire/internal/targets"
