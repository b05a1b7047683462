package manifest

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/core/supervise"
)

// Specs returns what [supervise.Group.Apply] needs. protocols are all that the host has
// code for. options returns what else a plugin is started with, such as
// [host.WithTransports]. The name, the protocol and the checksum of the manifest count
// more than those options. options may be nil.
//
// The revision of a spec changes with its entry. A change of what options returns is not
// noticed. Set the Options of the specs for an initialization, for example.
func (m *Manifest) Specs(protocols []*protocol.Protocol, options func(Plugin) []host.Option) ([]supervise.Spec, error) {
	var specs []supervise.Spec
	var errs []error
	for _, p := range m.Plugins {
		spec, err := p.spec(protocols, options)
		if err != nil {
			errs = append(errs, fmt.Errorf("plugin %s: %w", p.Name, err))
			continue
		}
		specs = append(specs, spec)
	}
	return specs, errors.Join(errs...)
}

func (p Plugin) spec(protocols []*protocol.Protocol, options func(Plugin) []host.Option) (supervise.Spec, error) {
	chosen, err := p.choose(protocols)
	if err != nil {
		return supervise.Spec{}, err
	}
	var opts []host.Option
	if options != nil {
		opts = slices.Clone(options(p))
	}
	opts = append(opts, host.WithName(p.Name), host.WithProtocols(chosen...))
	if p.Checksum != "" {
		hash, sum, err := parseChecksum(p.Checksum)
		if err != nil {
			return supervise.Spec{}, err
		}
		opts = append(opts, host.WithChecksum(hash, sum))
	}
	return supervise.Spec{
		Name:     p.Name,
		Revision: p.revision(),
		Needs:    slices.Clone(p.Needs),
		Optional: p.Optional,
		Lazy:     p.Lazy,
		Idle:     p.Idle,
		Launch: func(ctx context.Context) (*host.Plugin, error) {
			cmd := exec.Command(p.Command, p.Args...) //nolint:gosec // it is what the manifest is for; Launch has the context
			cmd.Env = p.environ()
			return host.Launch(ctx, cmd, opts...)
		},
	}, nil
}

// choose returns the versions of the plugin's protocol that the host has.
func (p Plugin) choose(protocols []*protocol.Protocol) ([]*protocol.Protocol, error) {
	name := p.Protocol
	var known []string
	for _, q := range protocols {
		known = append(known, q.String())
		if p.Protocol == "" {
			if name != "" && name != q.Name() {
				return nil, errors.New("the manifest names no protocol, and the host has several")
			}
			name = q.Name()
		}
	}
	var chosen []*protocol.Protocol
	for _, q := range protocols {
		if q.Name() == name && (len(p.Versions) == 0 || slices.Contains(p.Versions, q.Version())) {
			chosen = append(chosen, q)
		}
	}
	if len(chosen) == 0 {
		want := name
		if len(p.Versions) > 0 {
			want += fmt.Sprintf(" in one of the versions %v", p.Versions)
		}
		return nil, fmt.Errorf("the host does not have the protocol %s: it has %s", want, strings.Join(known, ", "))
	}
	return chosen, nil
}
