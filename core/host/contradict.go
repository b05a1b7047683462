package host

import "fmt"

// contradiction returns an error for two options that contradict each other. Without it
// one of them would win silently, while the user relies on the other. The error names
// both options, so that a person finds them.
func (c *config) contradiction() error {
	both := func(a, b, why string) error {
		return fmt.Errorf("host.%s and host.%s contradict each other: %s", a, b, why)
	}
	switch {
	case c.mutualTLS && c.plaintext:
		return both("WithMutualTLS", "WithPlaintext", "one demands mutual TLS of every plugin, the other accepts a plugin that has none")
	case c.mutualTLS && c.tls != nil:
		return both("WithMutualTLS", "WithTLSConfig", "one demands one-time certificates, the other replaces them by a configuration of your own")
	case c.tls != nil && c.plaintext:
		return both("WithTLSConfig", "WithPlaintext", "one demands TLS with a configuration of your own, the other accepts a plugin that has none")
	case c.mutualTLS && c.noCertificate:
		return both("WithMutualTLS", "WithoutCertificate", "one demands one-time certificates, the other offers none")
	case c.noCertificate && len(c.security()) == 0:
		return errCertificateNone
	case c.checksum != nil && !runsPath(c.runner):
		return both("WithChecksum", "WithRunner", "the runner does not say that it runs the program of the command (host.PathRunner), so only the runner can verify what it starts")
	case len(c.wires) == 0 && c.services.RequiresServer():
		return both("WithWire", "WithServices", `only the wire "h2" carries calls to what registers itself on a *grpc.Server (protocol.FromServer)`)
	case c.limits.Buffered != 0 && c.limits.Buffered < c.maxMessageSize:
		return both("WithMaxBuffered", "WithMaxMessageSize", fmt.Sprintf("there is no room for one message: %d bytes are less than the %d that a message may have", c.limits.Buffered, c.maxMessageSize))
	default:
		return nil
	}
}
