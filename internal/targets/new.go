package targets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// generatorPath is the package of the command that the proof also uses as a tool
// of go.mod.
const generatorPath = modulePrefix + "/codegen/cmd/plugwire-gen"

// makeNew goes from an empty directory to an answer with plugwire-gen alone: it
// makes a module, tests it, edits its .proto file and runs its host.
func (p *proof) makeNew(ctx context.Context) error {
	c, err := p.newConsumer("new")
	if err != nil {
		return err
	}
	generator := p.executable("plugwire-gen")
	if err := c.quiet(ctx, generator, "new", "greetings"); err != nil {
		return err
	}
	c.dir = filepath.Join(c.dir, "greetings")
	if err := c.quiet(ctx, "go", "test", "./..."); err != nil {
		return err
	}
	proto := filepath.Join(c.dir, "greetings", "greetings.proto")
	source, err := os.ReadFile(proto)
	if err != nil {
		return err
	}
	edited := bytes.Replace(source, []byte("string name = 1;"), []byte("string name = 1; string language = 2;"), 1)
	if bytes.Equal(source, edited) {
		return errors.New(proto + ": there is no line to edit")
	}
	if err := os.WriteFile(proto, edited, 0o644); err != nil {
		return err
	}
	for _, args := range [][]string{
		{generator, "generate"},
		{"go", "get", "-tool", generatorPath + "@" + nextVersion},
		{"go", "tool", "plugwire-gen", "generate", "-check"},
		{"go", "run", generatorPath + "@" + nextVersion, "generate", "-check"},
		{"go", "vet", "./..."},
	} {
		if err := c.quiet(ctx, args...); err != nil {
			return err
		}
	}
	switch out, err := c.output(ctx, "go", "run", "./cmd/greetings-host"); {
	case err != nil:
		return err
	case out != "Hello, world!":
		return fmt.Errorf("greetings-host says %q", out)
	default:
		say("plugwire-gen new, an edited line, plugwire-gen generate, go run: %s", out)
		return nil
	}
}
