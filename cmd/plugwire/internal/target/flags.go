package target

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/output"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/preset"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/transport"
	"github.com/plugwire/plugwire/transport/quic"
	"github.com/plugwire/plugwire/transport/tcp"
	"github.com/plugwire/plugwire/transport/unix"
)

// Flags say how a plugin is started or attached to. Every command that uses a plugin has
// them.
type Flags struct {
	Preset       string
	Cookie       string
	Versions     []int
	Transports   []string
	Wires        []string
	MutualTLS    bool
	Plaintext    bool
	Multiplex    bool
	Env          []string
	Dir          string
	StartTimeout time.Duration
	LogLevel     string
	PortRange    string

	// Defaults are set before Add by a command that has others.
	Defaults Defaults
}

// Defaults are the defaults that differ between commands. The zero value means the usual
// ones.
type Defaults struct {
	StartTimeout time.Duration
	LogLevel     string
}

// Add adds the flags to those of a command.
func (f *Flags) Add(flags *pflag.FlagSet) {
	flags.StringVar(&f.Preset, "preset", "", "cookie and versions of an `application`: plugwire presets lists them")
	flags.StringVar(&f.Cookie, "cookie", "", "cookie by which the plugin knows its host, as `NAME=VALUE`")
	flags.IntSliceVar(&f.Versions, "protocol-version", nil, "`versions` of the protocol to offer (default 1 to 64, or the preset's)")
	flags.StringSliceVar(&f.Transports, "transport", transportNames(), "`transports` to offer, most preferred first")
	flags.StringVar(&f.PortRange, "port-range", "", "`MIN-MAX`, where the plugin looks for a port (default any)")
	flags.StringSliceVar(&f.Wires, "wire", nil, "`wires` to offer, most preferred first (default all)")
	flags.BoolVar(&f.MutualTLS, "mtls", false, "demand mutual TLS, also where the kernel vouches for the plugin")
	flags.BoolVar(&f.Plaintext, "plaintext", false, "accept a plugin on TCP without TLS")
	flags.BoolVar(&f.Multiplex, "multiplex", false, "ask a plugin on go-plugin for its multiplexed mode")
	flags.StringArrayVar(&f.Env, "env", nil, "variable for the plugin's environment, as `NAME=VALUE`; may be repeated")
	flags.StringVar(&f.Dir, "dir", "", "working `directory` of the plugin")
	flags.DurationVar(&f.StartTimeout, "start-timeout", cmp.Or(f.Defaults.StartTimeout, host.DefaultStartTimeout), "how long the start may take")
	flags.StringVar(&f.LogLevel, "log", cmp.Or(f.Defaults.LogLevel, "warn"), "lowest `level` of the plugin's log that is shown on standard error: debug, info, warn, error or off")
}

// transports are those of this program, in the order in which they are offered.
var transports = []transport.Transport{unix.New(), quic.New(), tcp.New()}

func transportNames() []string {
	names := make([]string, len(transports))
	for i, t := range transports {
		names[i] = t.Name()
	}
	return names
}

// options returns the host's options that the flags mean.
func (f *Flags) options(ctx context.Context, c cookie, logger *slog.Logger) ([]host.Option, error) {
	var offered []transport.Transport
	for _, name := range f.Transports {
		i := slices.Index(transportNames(), name)
		if i < 0 {
			return nil, output.Usage("-transport %s: there is only %s", name, strings.Join(transportNames(), ", "))
		}
		offered = append(offered, transports[i])
	}
	opts := []host.Option{
		host.WithAnyProtocol(c.versions...),
		host.WithTransports(offered...),
		host.WithStartTimeout(f.StartTimeout),
		host.WithLogger(logger),
		host.WithoutAttach(),
	}
	if c.name != "" {
		opts = append(opts, host.WithCookie(c.name, c.value))
	}
	if len(f.Wires) > 0 {
		opts = append(opts, host.WithWire(f.Wires...))
	}
	if f.PortRange != "" {
		low, high, ok := strings.Cut(f.PortRange, "-")
		minPort, minErr := strconv.Atoi(low)
		maxPort, maxErr := strconv.Atoi(high)
		if !ok || minErr != nil || maxErr != nil {
			return nil, output.Usage("-port-range %q: want MIN-MAX", f.PortRange)
		}
		opts = append(opts, host.WithPortRange(minPort, maxPort))
	}
	if f.MutualTLS {
		opts = append(opts, host.WithMutualTLS())
	}
	if f.Plaintext {
		opts = append(opts, host.WithPlaintext())
	}
	if f.Multiplex {
		opts = append(opts, host.WithMultiplex())
	}
	return opts, ctx.Err()
}

// cookie is how the plugin knows its host, and the versions that go with that.
type cookie struct {
	name, value string // empty for Plugwire's own
	versions    []int  // nil for all
}

// cookie returns what the flags say.
func (f *Flags) cookie() (c cookie, err error) {
	if f.Preset != "" {
		p, err := preset.Find(f.Preset)
		if err != nil {
			return c, output.Usage("-preset: %v", err)
		}
		c = cookie{p.Cookie, p.Value, p.Versions}
	}
	if f.Cookie != "" {
		var ok bool
		if c.name, c.value, ok = strings.Cut(f.Cookie, "="); !ok || c.name == "" {
			return c, output.Usage("-cookie %q: want NAME=VALUE", f.Cookie)
		}
	}
	if len(f.Versions) > 0 {
		c.versions = f.Versions
	}
	return c, nil
}

// level returns the lowest level that is logged.
func (f *Flags) level() (slog.Level, error) {
	const off = slog.Level(100) // above every level in use
	if strings.EqualFold(f.LogLevel, "off") {
		return off, nil
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.LogLevel)); err != nil {
		return level, output.Usage("-log %q: want debug, info, warn, error or off", f.LogLevel)
	}
	return level, nil
}

// environment returns the variables that the flag -env adds.
func (f *Flags) environment() ([]string, error) {
	for _, entry := range f.Env {
		if name, _, ok := strings.Cut(entry, "="); !ok || name == "" {
			return nil, output.Usage("-env %q: want NAME=VALUE", entry)
		}
	}
	return f.Env, nil
}

// String returns the cookie as a person gives it to the flag -cookie.
func (c cookie) String() string { return fmt.Sprintf("%s=%s", c.name, c.value) }

// ProtocolVersions returns the versions that the flags name, or 1 to 64 as
// [host.WithAnyProtocol].
func (f *Flags) ProtocolVersions() ([]int, error) {
	c, err := f.cookie()
	if err != nil || len(c.versions) > 0 {
		return c.versions, err
	}
	const most = 64
	for v := range most {
		c.versions = append(c.versions, v+1)
	}
	return c.versions, nil
}
