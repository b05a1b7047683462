package host

import (
	"errors"
	"fmt"
	"slices"

	"github.com/plugwire/plugwire/core/internal/negotiation"
	"github.com/plugwire/plugwire/core/protocol"
)

// anyVersions is how many versions a host offers that speaks any protocol: as many as a
// plugin reads of PLUGIN_PROTOCOL_VERSIONS (docs/protocol.md, "Limits").
const anyVersions = 64

// anyName is the name of the protocol of a plugin that names none.
const anyName = "any"

// WithAnyProtocol makes the host speak whatever protocol the plugin serves. It is for
// tools, which learn from the plugin's reflection what to call, and takes the place of
// [WithProtocols]. The plugin chooses the highest of its versions among the given ones.
// Without any given version those are 1 to 64.
//
// [Plugin.Protocol] then has the name that the plugin answers with, and no services.
// [Info].Protocol is empty if the plugin answers with no name, as one on go-plugin does.
// An application names its protocols, because only then it learns at the start, and not
// at a call, that it was given another plugin.
func WithAnyProtocol(versions ...int) Option {
	versions = slices.Clone(versions)
	return optionFunc(func(cfg *config) error {
		if len(versions) > anyVersions {
			return fmt.Errorf("host.WithAnyProtocol: %d versions are given, and a plugin reads only %d", len(versions), anyVersions)
		}
		if len(versions) == 0 {
			for v := range anyVersions {
				versions = append(versions, v+1)
			}
		}
		slices.Sort(versions)
		versions = slices.Compact(versions)
		family := make([]*protocol.Protocol, len(versions))
		var errs []error
		for i, v := range versions {
			family[i] = protocol.New(anyName, v)
			errs = append(errs, family[i].Err())
		}
		if err := errors.Join(errs...); err != nil {
			return fmt.Errorf("host.WithAnyProtocol: %w", err)
		}
		var err error
		cfg.family, err = protocol.NewFamily(family...)
		cfg.anyProtocol = true
		return err
	})
}

// offeredProtocol returns the name that the host offers, empty for any.
func (c *config) offeredProtocol() string {
	if c.anyProtocol {
		return ""
	}
	return c.family.Name()
}

// protocolName returns the name of the agreed protocol, empty if neither side names one.
func (c *config) protocolName(answer *negotiation.Answer) string {
	if c.anyProtocol {
		return answer.Protocol
	}
	return c.family.Name()
}

// spoken returns the protocol that the two sides agreed on. The name of a plugin that
// answers with a name that is not valid is left out: the answer is untrusted.
func (c *config) spoken(answer *negotiation.Answer) *protocol.Protocol {
	if c.anyProtocol && answer.Protocol != "" {
		if p := protocol.New(answer.Protocol, answer.Version); p.Err() == nil {
			return p
		}
	}
	return c.family.Version(answer.Version)
}
