// Command protoc-gen-go-plugwire is a plugin of protoc and buf. For each .proto
// file with services it writes FILE_plugwire.pb.go, which binds the code of
// protoc-gen-go and protoc-gen-go-grpc to Plugwire. It takes the parameters of
// protoc-gen-go. A further parameter, protocol=FILE=NAME/VERSION, sets the protocol
// of all services of a file; it overrides the file.
//
//	protoc --go_out=. --go-grpc_out=. --go-plugwire_out=. FILE.proto
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime/debug"

	"google.golang.org/protobuf/compiler/protogen"

	"github.com/plugwire/plugwire/codegen/internal/glue"
)

const usage = `usage: protoc --go_out=. --go-grpc_out=. --go-plugwire_out=. FILE.proto

protoc or buf runs protoc-gen-go-plugwire beside protoc-gen-go and
protoc-gen-go-grpc. Without protoc and buf, run plugwire-gen generate.

`

func main() {
	flags := flag.NewFlagSet("protoc-gen-go-plugwire", flag.ContinueOnError)
	flags.Usage = func() {
		_, _ = fmt.Fprint(flags.Output(), usage) // a failed write cannot be reported
		flags.PrintDefaults()
	}
	version := flags.Bool("version", false, "print the version")
	switch err := flags.Parse(os.Args[1:]); {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil || flags.NArg() > 0:
		flags.Usage()
		os.Exit(2)
	case *version:
		info, _ := debug.ReadBuildInfo() // a command always has it
		fmt.Println("protoc-gen-go-plugwire", info.Main.Version)
		return
	}
	var o glue.Options
	protogen.Options{ParamFunc: o.Set}.Run(func(plugin *protogen.Plugin) error { return o.Generate(plugin) })
}
