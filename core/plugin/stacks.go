package plugin

import "github.com/plugwire/plugwire/core/internal/stacks"

// WithStacks sets what the host may see of the stacks of this plugin's handlers. It asks
// for them when a call has ended by its deadline, at most once a second. edit gets the
// text, which has names of functions and places in files, and returns what the host gets:
// all of it, less, or nothing. With a nil edit the plugin tells no stacks. Without this
// option the host gets the text as it is.
//
// A plugin's log has the stacks too, as edit returns them, if calls are cut off by a
// shutdown.
func WithStacks(edit func(stacks string) string) Option {
	return optionFunc(func(cfg *config) error {
		cfg.editStacks = edit
		return nil
	})
}

func asTheyAre(stacks string) string { return stacks }

// takeStacks returns the function that finds where the handlers of a method are; nil if
// the plugin does not tell.
func (c *config) takeStacks() func(method string) string {
	if c.editStacks == nil {
		return nil
	}
	taker := new(stacks.Taker)
	return func(method string) string {
		text := taker.Take(method)
		if text == "" {
			return ""
		}
		return c.editStacks(text)
	}
}

// handlers returns where the handlers are that a shutdown cuts off.
func (c *config) handlers() string {
	take := c.takeStacks() // has told nothing yet
	if take == nil {
		return ""
	}
	return take("")
}
