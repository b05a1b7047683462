package main

import (
	"errors"
	"flag"

	"github.com/plugwire/plugwire/plugins/hostcli"
)

// addCaller adds the flag that says on whose behalf the command is.
func addCaller(flags *flag.FlagSet, caller *string, otherwise string) {
	flags.Func("as", "`name` of the user on whose behalf it is"+otherwise, func(name string) error {
		*caller = name
		return hostcli.CheckText(name)
	})
}

// withCaller takes the arguments as parse does, of a command that cannot do
// without a caller.
func withCaller(caller *string, parse func(args []string) error) func(args []string) error {
	return func(args []string) error {
		if *caller == "" {
			return errors.New("-as is missing: it names the user on whose behalf it is")
		}
		return parse(args)
	}
}
