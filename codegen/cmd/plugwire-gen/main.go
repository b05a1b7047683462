// Command plugwire-gen goes from .proto files to a running plugin, with nothing
// but Go installed: there is no protoc.
//
//	plugwire-gen new NAME
//	plugwire-gen generate [DIR|FILE...]
//	plugwire-gen check [DIR|FILE...]
//
// See -h of each for its flags.
package main

import (
	"os"

	"github.com/plugwire/plugwire/codegen/internal/cli"
)

func main() { os.Exit(cli.Main()) }
