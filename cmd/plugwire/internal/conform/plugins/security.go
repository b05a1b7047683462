package plugins

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/net/http2"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform"
)

// securityRules are about how the plugin knows its host.
func (s *suite) securityRules() []conform.Rule {
	return []conform.Rule{
		{
			Section: "protocol 10", Name: "mtls", Profiles: conform.GoPlugin, Needs: []string{needHealth},
			Title: "With a certificate of the host, the plugin serves with mutual TLS.",
			Check: func(ctx context.Context, c *conform.Case) error {
				p, err := s.withTLS(ctx, c, elliptic.P256())
				if err != nil {
					return err
				}
				if p.cert == nil {
					return conform.Fail("a certificate in field 6", "none", "make one if PLUGIN_CLIENT_CERT is there: hosts on go-plugin insist on it")
				}
				return p.serves(ctx, "with mutual TLS")
			},
		},
		{
			Section: "protocol 10", Name: "curve-of-the-host", Profiles: conform.GoPlugin, Needs: []string{needMTLS},
			Title: "The plugin accepts a host's certificate of curve P-521, which hosts on go-plugin have.",
			Check: func(ctx context.Context, c *conform.Case) error {
				p, err := s.tls(ctx, c, elliptic.P521())
				if err != nil {
					return err
				}
				return withAdvice(p.serves(ctx, "to a host with a certificate of curve P-521"), "use a TLS stack that accepts this curve from a client")
			},
		},
		{
			Section: "protocol 10", Name: "own-certificate", Profiles: all, Needs: []string{needHealth, needMTLS},
			Title: "The plugin's certificate holds for localhost, and is its own authority.",
			Check: s.ownCertificate,
		},
		{
			Section: "protocol 10", Name: "certificate-form", Needs: []string{needMTLS},
			Title: "The plugin's certificate has a key of curve P-256 and both extended key usages, and holds from an hour ago on.",
			Check: s.certificateForm,
		},
		{
			Section: "protocol 10", Name: "stranger-without-certificate", Profiles: all, Needs: []string{needHealth, needMTLS},
			Title: "With TLS, a peer without a certificate is refused.",
			Check: func(ctx context.Context, c *conform.Case) error { return s.stranger(ctx, c, false) },
		},
		{
			Section: "protocol 10", Name: "stranger-with-certificate", Profiles: all, Needs: []string{needHealth, needMTLS},
			Title: "With TLS, a peer with another certificate is refused.",
			Check: func(ctx context.Context, c *conform.Case) error { return s.stranger(ctx, c, true) },
		},
		{
			Section: "protocol 10", Name: "plain-text", Profiles: all, Needs: []string{needHealth, needMTLS},
			Title: "With TLS, a peer that speaks HTTP/2 in the clear is refused.",
			Check: s.plainText,
		},
		{
			Section: "protocol 10", Name: "alpn", Needs: []string{needMTLS, needFields},
			Title: "A host without ALPN is accepted, and one that offers only other protocols is not.",
			Check: s.alpnRule,
		},
		{
			Section: "protocol 10", Name: "another-user", Needs: []string{needFields},
			Title: "With peer credentials, the connection of another user is closed.",
			Check: s.anotherUser,
		},
	}
}

// withTLS starts the plugin under a foreign host with a certificate.
func (s *suite) withTLS(ctx context.Context, c *conform.Case, curve elliptic.Curve) (*answeredPlugin, error) {
	host, err := newIdentity(curve)
	if err != nil {
		return nil, err
	}
	return s.start(ctx, c, offer{hostCert: host})
}

// tls is withTLS for rules that have no meaning without TLS.
func (s *suite) tls(ctx context.Context, c *conform.Case, curve elliptic.Curve) (*answeredPlugin, error) {
	p, err := s.withTLS(ctx, c, curve)
	if err == nil && p.cert == nil {
		return nil, conform.NotApplicable("the plugin has no mutual TLS")
	}
	return p, err
}

func (s *suite) ownCertificate(ctx context.Context, c *conform.Case) error {
	p, err := s.tls(ctx, c, elliptic.P256())
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AddCert(p.cert)
	for _, at := range []time.Time{time.Now(), time.Now().AddDate(0, 1, 0)} {
		if _, err := p.cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: "localhost", CurrentTime: at}); err != nil {
			return conform.Fail("a certificate that verifies for localhost, with itself as the only root", err.Error(), "make it as the table in section 10 says")
		}
	}
	return nil
}

func (s *suite) certificateForm(ctx context.Context, c *conform.Case) error {
	p, err := s.tls(ctx, c, elliptic.P256())
	if err != nil {
		return err
	}
	key, ok := p.cert.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return conform.Fail("a key of curve P-256", fmt.Sprintf("%v", p.cert.PublicKeyAlgorithm), "every TLS stack takes P-256")
	}
	const late = 50 * time.Minute // a host whose clock is late must accept it as well
	if from := time.Now().Add(-late); p.cert.NotBefore.After(from) {
		return conform.Fail("a certificate that holds from an hour ago on", "it holds from "+p.cert.NotBefore.String(), "the clocks of two machines differ")
	}
	usage := map[x509.ExtKeyUsage]bool{}
	for _, u := range p.cert.ExtKeyUsage {
		usage[u] = true
	}
	if !p.cert.IsCA || !usage[x509.ExtKeyUsageClientAuth] || !usage[x509.ExtKeyUsageServerAuth] {
		return conform.Fail("CA: true, clientAuth and serverAuth", fmt.Sprintf("CA: %v, usages %v", p.cert.IsCA, p.cert.ExtKeyUsage), "make the certificate as the table in section 10 says")
	}
	return nil
}

// speaks reports whether the plugin answers HTTP/2 on a connection: a peer that it does
// not accept gets no frame.
func speaks(conn net.Conn) (bool, error) {
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		return false, nil //nolint:nilerr // the connection is closed
	}
	framer := http2.NewFramer(conn, conn)
	if err := framer.WriteSettings(); err != nil {
		return false, nil //nolint:nilerr // the connection is closed
	}
	frame, err := framer.ReadFrame()
	if err != nil {
		if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
			return false, conform.Fail("the connection is closed", "it stays open, and nothing comes", "close a connection that is refused")
		}
		return false, nil
	}
	_, away := frame.(*http2.GoAwayFrame)
	return !away, nil
}

// refused checks that a connection is refused, and that the plugin serves others.
func (p *answeredPlugin) refused(ctx context.Context, conn net.Conn, who, advice string) error {
	answered, err := speaks(conn)
	if err != nil {
		return err
	}
	if answered {
		return conform.Fail(who+" is refused", "the plugin serves it", advice)
	}
	return p.serves(ctx, "after it has refused "+who)
}

func (s *suite) stranger(ctx context.Context, c *conform.Case, withCert bool) error {
	p, err := s.tls(ctx, c, elliptic.P256())
	if err != nil {
		return err
	}
	raw, err := p.dial(ctx)
	if err != nil {
		return err
	}
	who := "a peer without a certificate"
	var own *identity
	if withCert {
		who = "a peer with another certificate"
		if own, err = newIdentity(elliptic.P256()); err != nil {
			return err
		}
	}
	cfg := config(own, p.cert, "h2")
	if own != nil { // also if the plugin asks for those of its host only
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own.certificate, nil }
	}
	conn := tls.Client(raw, cfg)
	if conn.HandshakeContext(ctx) != nil {
		return p.serves(ctx, "after it has refused "+who)
	}
	return p.refused(ctx, conn, who, "require a client's certificate, with the host's as the only root")
}

func (s *suite) plainText(ctx context.Context, c *conform.Case) error {
	p, err := s.tls(ctx, c, elliptic.P256())
	if err != nil {
		return err
	}
	conn, err := p.dial(ctx)
	if err != nil {
		return err
	}
	return p.refused(ctx, conn, "a peer without TLS", "serve with TLS only")
}

func (s *suite) alpnRule(ctx context.Context, c *conform.Case) error {
	p, err := s.start(ctx, c, ours("security", "mtls"))
	if err != nil {
		return err
	}
	conn, err := p.dial(ctx)
	if err != nil {
		return err
	}
	without, err := p.secure(ctx, conn, p.offer.hostCert)
	if err != nil {
		return withAdvice(err, "take a host without ALPN: section 10")
	}
	answered, err := speaks(without)
	if err != nil || !answered {
		return conform.Fail("a host without ALPN is served", fmt.Sprintf("it is not: %v", err), "do not insist on ALPN")
	}
	if conn, err = p.dial(ctx); err != nil {
		return err
	}
	other, err := p.secure(ctx, conn, p.offer.hostCert, "smoke/3")
	if err != nil {
		return p.serves(ctx, "after it has refused another ALPN")
	}
	return p.refused(ctx, other, "a host with another ALPN", "end the handshake with no_application_protocol")
}
