// Package target is the plugin that a command is about: how a person names it, and how
// it is started or attached to.
package target

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/output"
	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/transport"
)

// Usage is how a plugin is named, for the help text of each command.
const Usage = `PLUGIN is one of
  PROGRAM             a program to start; arguments for it come after --
  -- PROGRAM [ARG]... the same, as one command at the end
  unix:PATH           the socket of a gRPC server that runs already
  tcp:HOST:PORT       its address
  '{...}'             what a plugin that is debugged prints, or an entry of TF_REATTACH_PROVIDERS
  env                 the same from the variable PLUGWIRE_ATTACH or TF_REATTACH_PROVIDERS
  env:NAME            the entry NAME of that variable`

// Ref is a plugin as a person has named it: either a command, or the way to a plugin that
// runs already.
type Ref struct {
	// Command is the program and its arguments; nil for a plugin that runs already.
	Command []string
	// Attach is set for a plugin that runs already.
	Attach *handshake.AttachInfo
}

// String returns the reference for people.
func (r Ref) String() string {
	if r.Attach != nil {
		return fmt.Sprintf("at %s:%s", r.Attach.Transport.Name, r.Attach.Address)
	}
	return strings.Join(r.Command, " ")
}

// Args are the arguments of a command of plugwire.
type Args struct {
	// Before are those before --, and After those after it.
	Before, After []string
	// Dashed is set if there is a --.
	Dashed bool
}

// Split splits the arguments of a command. dash is the index of the first one after --,
// -1 without --.
func Split(args []string, dash int) Args {
	if dash < 0 {
		return Args{Before: args}
	}
	return Args{Before: args[:dash], After: args[dash:], Dashed: true}
}

// Take takes the plugin from the arguments of a command, and returns the arguments that
// are left. want reports for the arguments before -- that they are complete without a
// plugin: then the command after -- is the plugin.
func (a Args) Take(want func(before []string) bool) (Ref, []string, error) {
	if a.Dashed && want(a.Before) {
		if len(a.After) == 0 {
			return Ref{}, nil, output.Usage("no plugin is named: give one after --")
		}
		return Ref{Command: a.After}, a.Before, nil
	}
	if len(a.Before) == 0 {
		return Ref{}, nil, output.Usage("no plugin is named")
	}
	ref, err := Parse(a.Before[0])
	switch {
	case err != nil:
		return Ref{}, nil, err
	case ref.Attach != nil && a.Dashed:
		return Ref{}, nil, output.Usage("arguments after -- are for a plugin that is started, and %s runs already", a.Before[0])
	case ref.Attach == nil:
		ref.Command = append(ref.Command, a.After...)
	}
	return ref, a.Before[1:], nil
}

// Parse returns the plugin that a word names.
func Parse(word string) (Ref, error) {
	scheme, rest, _ := strings.Cut(word, ":")
	switch {
	case word == "":
		return Ref{}, output.Usage("the name of the plugin is empty")
	case strings.HasPrefix(strings.TrimSpace(word), "{"):
		info, err := handshake.ParseAttachInfo(word)
		if err != nil {
			return Ref{}, output.Usage("%v", err)
		}
		return Ref{Attach: &info}, nil
	case word == "env" || scheme == "env":
		return fromEnv(rest)
	case scheme == "unix" || scheme == "tcp":
		return atAddress(scheme, rest)
	default:
		return Ref{Command: []string{word}}, nil
	}
}

// The variables that say how a host reaches a plugin that runs already.
var attachVariables = []string{"PLUGWIRE_ATTACH", "TF_REATTACH_PROVIDERS"}

// fromEnv returns the entry with the given name of a variable. Without a name there must
// be only one.
func fromEnv(name string) (Ref, error) {
	for _, variable := range attachVariables {
		text, ok := os.LookupEnv(variable)
		if !ok || text == "" {
			continue
		}
		var entries map[string]json.RawMessage
		if err := json.Unmarshal([]byte(text), &entries); err != nil {
			return Ref{}, output.Usage("%s is not a JSON object", variable)
		}
		var names []string
		for n := range entries {
			names = append(names, n)
		}
		slices.Sort(names)
		switch {
		case name == "" && len(names) == 1:
			name = names[0]
		case name == "":
			return Ref{}, output.Usage("%s has %d entries: name one of them, as env:NAME (%s)", variable, len(names), strings.Join(names, ", "))
		}
		entry, ok := entries[name]
		if !ok {
			continue
		}
		var info handshake.AttachInfo
		if err := info.UnmarshalJSON(entry); err != nil {
			return Ref{}, output.Usage("%s, entry %q: %v", variable, name, err)
		}
		return Ref{Attach: &info}, nil
	}
	if name == "" {
		return Ref{}, output.Usage("neither %s is set", strings.Join(attachVariables, " nor "))
	}
	return Ref{}, output.Usage("neither %s has an entry %q", strings.Join(attachVariables, " nor "), name)
}

// atAddress returns the plugin that serves gRPC at an address, without a handshake.
func atAddress(network, address string) (Ref, error) {
	if err := transport.CheckAddress(address); err != nil {
		return Ref{}, output.Usage("%s:%s: %v", network, address, err)
	}
	security := handshake.SecurityNone
	if network == "unix" {
		security = handshake.SecurityPeerCred
	}
	return Ref{Attach: &handshake.AttachInfo{
		Foreign: true, Transport: transport.ID{Name: network, Version: 1}, Address: address,
		Session: handshake.SessionDirect, Wire: handshake.WireH2, Security: security, Stays: true,
	}}, nil
}

// Program returns the path of the program of the command.
func (r Ref) Program() string {
	path, err := exec.LookPath(r.Command[0])
	if err != nil {
		return r.Command[0] // the start says what is wrong
	}
	return path
}

var methodName = regexp.MustCompile(`^/?[A-Za-z_][A-Za-z0-9_.]*/[A-Za-z_][A-Za-z0-9_]*$`)

// IsMethod reports whether a word has the form of a method's name, pkg.Service/Method.
func IsMethod(word string) bool { return methodName.MatchString(word) }
