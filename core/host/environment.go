package host

import (
	"fmt"
	"os"
	"sync"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/negotiation"
)

// WithoutAttach makes [Launch] ignore the environment variable PLUGWIRE_ATTACH: the host
// always starts the plugin. It is for a host whose environment another person sets, such
// as one that runs with more rights than that person has.
func WithoutAttach() Option {
	return optionFunc(func(cfg *config) error {
		cfg.noAttach = true
		return nil
	})
}

// running returns the plugin that runs already according to the environment. It is nil if
// the environment has no entry for the plugin's name, nor for its protocol.
func (l *launch) running() (*handshake.AttachInfo, error) {
	text := os.Getenv(negotiation.EnvAttach)
	if text == "" || l.noAttach {
		return nil, nil
	}
	infos, err := negotiation.ParseAttachMap(text)
	if err != nil {
		return nil, fmt.Errorf("the value of %s: %w: unset it, or take what the plugin that is debugged has printed", negotiation.EnvAttach, err)
	}
	entry := l.name
	info, ok := infos[entry]
	if !ok {
		entry = l.family.Name()
		if info, ok = infos[entry]; !ok {
			return nil, nil
		}
	}
	if l.checksum != nil {
		return nil, fmt.Errorf("%w, as %s asks for: unset that, or launch without a checksum to debug", errAttachChecksum, negotiation.EnvAttach)
	}
	if entry != l.name {
		if first := protocolEntries.claim(text, entry, l.name); first != l.name {
			return nil, fmt.Errorf("%s names protocol %s, which plugins %s and %s of this host both speak: replace it by the name of the plugin that is debugged", negotiation.EnvAttach, entry, first, l.name)
		}
	}
	l.logger.Warn("attaching to a plugin that runs already, instead of launching one", "variable", negotiation.EnvAttach, "entry", entry, "info", info)
	return &info, nil
}

// protocolEntries has the entries of PLUGWIRE_ATTACH that name a protocol, for the whole
// process as the variable is. A host may launch several plugins of one protocol. Each
// would be attached to the one plugin that is debugged, and calls for the others would
// reach that one without a word. So the first name that takes such an entry keeps it.
var protocolEntries entryOwners

// entryOwners are the names of the plugins that have taken the entries of one value.
type entryOwners struct {
	mu     sync.Mutex // guards what follows
	value  string     // of the variable
	owners map[string]string
}

// claim returns the name of the plugin that has taken the entry: that of an earlier
// plugin, or else name.
func (e *entryOwners) claim(value, entry, name string) (owner string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.value != value || e.owners == nil {
		e.value, e.owners = value, make(map[string]string)
	}
	if owner, taken := e.owners[entry]; taken {
		return owner
	}
	e.owners[entry] = name
	return name
}
