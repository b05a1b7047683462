// Command plugwire starts or attaches to a plugin, of Plugwire or of go-plugin, and
// inspects it, calls it, and says what is wrong with it.
package main

import (
	"os"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:])) }
