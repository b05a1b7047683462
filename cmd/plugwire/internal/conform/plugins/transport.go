package plugins

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform"
)

// transportRules are about where the plugin listens.
func (s *suite) transportRules() []conform.Rule {
	return []conform.Rule{
		{
			Section: "protocol 5", Name: "host-order", Needs: []string{needFields, needMTLS},
			Title: "The plugin takes the first transport, wire and security in the host's order that it has.",
			Check: s.hostOrder,
		},
		{
			Section: "protocol 8", Name: "socket-directory", Profiles: conform.Minimal, Needs: []string{needOurs},
			Title: "The socket is in the directory that the host names.",
			Check: s.socketDirectory,
		},
		{
			Section: "protocol 8", Name: "socket-mode", Profiles: conform.Minimal, Needs: []string{needOurs},
			Title: "The socket has mode 0600.",
			Check: s.socketMode,
		},
		{
			Section: "protocol 8", Name: "own-directory", Needs: []string{needAnswer},
			Title: "Without a directory from the host, the socket is in a new one with mode 0700, which the plugin removes.",
			Check: s.ownDirectory,
		},
		{
			Section: "protocol 8", Name: "long-directory", Profiles: conform.Minimal, Needs: []string{needOurs},
			Title: "If the path of the socket would be too long, the plugin refuses with exit code 1, or takes another transport.",
			Check: s.longDirectory,
		},
		{
			Section: "protocol 8", Name: "tcp", Needs: []string{needFields, needMTLS},
			Title: "On tcp, the plugin listens on the loopback, on a port of the host's range, with mutual TLS.",
			Check: s.tcp,
		},
	}
}

// onUnix starts the plugin, which must take unix.
func (s *suite) onUnix(ctx context.Context, c *conform.Case, o offer) (*answeredPlugin, error) {
	p, err := s.start(ctx, c, o)
	if err == nil && p.network != "unix" {
		return nil, conform.NotApplicable("the plugin listens on %s", p.network)
	}
	return p, err
}

func (s *suite) socketDirectory(ctx context.Context, c *conform.Case) error {
	p, err := s.onUnix(ctx, c, ours())
	if err != nil {
		return err
	}
	if filepath.Dir(p.address) != p.offer.dir {
		return conform.Fail("a socket in "+p.offer.dir, p.address, "make it in the directory of PLUGIN_UNIX_SOCKET_DIR: the host removes what is there")
	}
	return nil
}

func (s *suite) socketMode(ctx context.Context, c *conform.Case) error {
	p, err := s.onUnix(ctx, c, ours())
	if err != nil {
		return err
	}
	info, err := os.Lstat(p.address)
	if err != nil {
		return conform.Fail("a socket at "+p.address, err.Error(), "write an absolute path")
	}
	if info.Mode() != fs.ModeSocket|0o600 {
		return conform.Fail("a socket with mode 0600", info.Mode().String(), "change the mode before you print the answer")
	}
	return nil
}

func (s *suite) ownDirectory(ctx context.Context, c *conform.Case) error {
	p, err := s.onUnix(ctx, c, offer{})
	if err != nil {
		return err
	}
	dir := filepath.Dir(p.address)
	info, err := os.Stat(dir)
	if err != nil {
		return conform.Fail("a socket at "+p.address, err.Error(), "write an absolute path")
	}
	if info.Mode().Perm() != 0o700 || filepath.Clean(dir) == filepath.Clean(c.TempDir()) {
		return conform.Fail("a new directory with mode 0700", dir+" with mode "+info.Mode().Perm().String(), "make a directory with a random name")
	}
	if err := p.stop(ctx); err != nil {
		return err
	}
	if _, err := os.Lstat(dir); err == nil {
		return conform.Fail("the directory is removed at the end", dir+" is there", "remove it before the process ends")
	}
	return nil
}

func (s *suite) longDirectory(ctx context.Context, c *conform.Case) error {
	o := ours("transports", "unix/1")
	o.transports = "unix"
	dir, err := mkdir(c, strings.Repeat("d", 110))
	if err != nil {
		return err
	}
	o.dir = dir
	p, err := s.startAny(ctx, c, o)
	const advice = "end with exit code 1 if you cannot listen, and say why on standard error"
	if err != nil {
		if len(c.Processes()) > 0 {
			return withAdvice(exits(ctx, s, c.Processes()[0], 1), advice)
		}
		return err
	}
	if p.refusal != "" {
		return p.exits(ctx, 1)
	}
	return p.serves(ctx, "in a directory whose path is too long for a socket")
}

func (s *suite) tcp(ctx context.Context, c *conform.Case) error {
	// The system chooses a range: a port that was free a moment ago, and those after it.
	ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // no name is resolved
	if err != nil {
		return err
	}
	low := ln.Addr().(*net.TCPAddr).Port
	if err := ln.Close(); err != nil {
		return err
	}
	high := min(low+50, 65535)
	o := ours("transports", "tcp/1")
	o.transports, o.ports = "tcp", fmt.Sprintf("%d-%d", low, high)
	p, err := s.startAny(ctx, c, o)
	if err != nil {
		return err
	}
	if p.refusal == "transport" {
		return conform.NotApplicable("the plugin has no tcp")
	}
	if p.refusal != "" {
		return conform.Fail("an answer", "the refusal "+p.extended["error"], "see section 5")
	}
	host, port, err := net.SplitHostPort(p.address)
	number, numberErr := strconv.Atoi(port)
	if err != nil || numberErr != nil || host != "127.0.0.1" || number < low || number > high {
		return conform.Fail(fmt.Sprintf("127.0.0.1 and a port from %d to %d", low, high), p.address, "listen on the loopback only, and try the ports of PLUGIN_MIN_PORT to PLUGIN_MAX_PORT")
	}
	if p.cert == nil {
		return conform.Fail("mutual TLS", p.line, "the kernel does not vouch for a peer on tcp")
	}
	return p.serves(ctx, "on tcp")
}

// hostOrder offers the same things in both orders.
func (s *suite) hostOrder(ctx context.Context, c *conform.Case) error {
	chosen := map[string]bool{}
	for _, transports := range []string{"unix/1,tcp/1", "tcp/1,unix/1"} {
		p, err := s.start(ctx, c, ours("transports", transports))
		if err != nil {
			return err
		}
		chosen[p.extended["transport"]] = true
	}
	const advice = "go through the host's list, and not through your own"
	if len(chosen) == 1 && runtime.GOOS != "windows" {
		for only := range chosen {
			o := ours("transports", strings.ReplaceAll("unix/1,tcp/1", only, "none/1"))
			if p, err := s.startAny(ctx, c, o); err == nil && p.refusal == "" {
				return conform.Fail("the first transport of the host's order", "always "+only, advice)
			}
		}
	}
	for _, security := range []string{"mtls,peercred", "peercred,mtls"} {
		p, err := s.onUnix(ctx, c, ours("security", security))
		if err != nil {
			return err
		}
		want, _, _ := strings.Cut(security, ",")
		if got := p.extended["security"]; got != want && (want == "mtls" || hasPeerCred) {
			return conform.Fail("security="+want+" for an offer of "+security, got, advice)
		}
	}
	return nil
}
