// Command plugwire-gen makes a running plugin from .proto files. It needs Go and
// nothing else: no protoc.
//
//	plugwire-gen new NAME
//	plugwire-gen generate [DIR|FILE...]
//	plugwire-gen check [DIR|FILE...]
//
// Each of these commands lists its flags with -h.
package main

import (
	"os"

	"github.com/plugwire/plugwire/codegen/internal/cli"
)

func main() { os.Exit(cli.Main()) }
