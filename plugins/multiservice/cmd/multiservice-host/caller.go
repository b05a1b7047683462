package main

import (
	"errors"
	"flag"

	"github.com/plugwire/plugwire/plugins/hostcli"
)

// addCaller adds the flag that names the user of the command.
func addCaller(flags *flag.FlagSet, caller *string, otherwise string) {
	flags.Func("as", "`name` of the user on whose behalf the host calls"+otherwise, func(name string) error {
		*caller = name
		return hostcli.CheckText(name)
	})
}

// withCaller parses the arguments like parse, for a command that needs a
// caller.
func withCaller(caller *string, parse func(args []string) error) func(args []string) error {
	return func(args []string) error {
		if *caller == "" {
			return errors.New("-as is missing: it names the user on whose behalf the host calls")
		}
		return parse(args)
	}
}
