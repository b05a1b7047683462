package host

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/plugwire/plugwire/core/internal/logs"
	"github.com/plugwire/plugwire/core/internal/negotiation"
)

// fromTemplate copies what a start takes from the user's command.
func fromTemplate(t *exec.Cmd, cookieName string) (*exec.Cmd, error) {
	switch {
	case t == nil:
		return nil, errors.New("the command is nil")
	case t.Err != nil:
		return nil, t.Err
	case t.Process != nil:
		return nil, errors.New("the command was already started: give Launch a new one")
	case t.Cancel != nil:
		return nil, errors.New("the command was made with exec.CommandContext: use exec.Command, give the context to Launch for the start, and end the plugin with Shutdown or Close")
	case t.Stdin != nil:
		return nil, errors.New("the command has Stdin set: use host.WithStdin")
	case t.Stdout != nil:
		return nil, errors.New("the command has Stdout set: use host.WithStdout")
	case t.Stderr != nil:
		return nil, errors.New("the command has Stderr set: use host.WithStderr")
	}
	env, err := environ(t.Env, os.Environ(), cookieName)
	if err != nil {
		return nil, err
	}
	return &exec.Cmd{
		Path:        t.Path,
		Args:        slices.Clone(t.Args),
		Env:         env,
		Dir:         t.Dir,
		ExtraFiles:  slices.Clone(t.ExtraFiles),
		SysProcAttr: t.SysProcAttr,
	}, nil
}

// environ returns the variables that the plugin gets beside the offer: those of the
// command or, if it has none, those that this process inherited. Variables of the
// handshake are left out. One that the command sets is an error, unless it was copied
// from the inherited variables, as append(os.Environ(), ...) does.
func environ(explicit, inherited []string, cookieName string) ([]string, error) {
	env := explicit
	if explicit == nil {
		env = inherited
	}
	kept := make([]string, 0, len(env))
	for _, variable := range env {
		name, _, _ := strings.Cut(variable, "=")
		if !negotiation.IsVariable(name) && name != cookieName {
			kept = append(kept, variable)
			continue
		}
		if explicit != nil && !slices.Contains(inherited, variable) {
			return nil, fmt.Errorf("the command sets %s in its environment: it belongs to the handshake, use the host's options instead", name)
		}
	}
	return kept, nil
}

// describe returns the program and its arguments as a person would type them. It quotes
// those with characters that cannot be shown.
func describe(cmd *exec.Cmd) string {
	if cmd == nil {
		return "(no command)"
	}
	words := []string{logs.OneLine(cmd.Path)}
	for _, arg := range cmd.Args[min(1, len(cmd.Args)):] {
		words = append(words, logs.OneLine(arg))
	}
	return strings.Join(words, " ")
}
