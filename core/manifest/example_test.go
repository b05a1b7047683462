package manifest_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/plugwire/plugwire/core/internal/exampletest/greeter"
	"github.com/plugwire/plugwire/core/manifest"
	"github.com/plugwire/plugwire/core/protocol"
)

// A manifest says what a group consists of.
func ExampleLoad() {
	m, err := manifest.Load(filepath.Join("testdata", "plugins.json"))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, p := range m.Plugins {
		fmt.Println(p.Name, p.Optional, p.Lazy, p.Needs)
	}
	// Output:
	// store false false []
	// words true true [store]
}

// Specs are what Group.Apply needs. The host lists the protocols that it has code for.
func ExampleManifest_Specs() {
	m := &manifest.Manifest{Plugins: []manifest.Plugin{{Name: "greeter", Command: "/usr/lib/greeter-plugin"}}}
	specs, err := m.Specs([]*protocol.Protocol{greeter.GreeterProtocol}, nil)
	fmt.Println(len(specs), err)

	m.Plugins[0].Protocol = "greetings"
	_, err = m.Specs([]*protocol.Protocol{greeter.GreeterProtocol}, nil)
	fmt.Println(err)
	// Output:
	// 1 <nil>
	// plugin greeter: the host does not have the protocol greetings: it has greeter/1
}

// A lock file records what a person has accepted. A manifest that asks for more is refused.
func ExampleLoadLocked() {
	if err := locked(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// 1 <nil>
	// plugin words: the list of arguments was [] and is ["-debug"]
}

func locked() error {
	dir, err := os.MkdirTemp("", "manifest-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path, lock := filepath.Join(dir, "plugins.json"), filepath.Join(dir, "plugins.lock.json")
	write := func(path, text string) { err = errors.Join(err, os.WriteFile(path, []byte(text), 0o600)) }

	write(filepath.Join(dir, "words-plugin"), "a program")
	write(path, `{"manifest": 1, "plugins": [{"name": "words", "command": "words-plugin"}]}`)
	if err != nil {
		return err
	}
	m, err := manifest.Load(path)
	if err != nil {
		return err
	}
	if err := m.Lock(lock); err != nil { // a person has seen it
		return err
	}
	m, err = manifest.LoadLocked(path, lock)
	fmt.Println(len(m.Plugins), err)

	write(path, `{"manifest": 1, "plugins": [{"name": "words", "command": "words-plugin", "args": ["-debug"]}]}`)
	_, err = manifest.LoadLocked(path, lock)
	if refused, ok := errors.AsType[*manifest.LockError](err); ok {
		for _, change := range refused.Changes {
			fmt.Println(change)
		}
		return nil
	}
	return err
}
