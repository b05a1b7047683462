package plugins

import (
	"context"
	"errors"
	"strings"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform"
)

// refusalRules are about offers that a plugin must refuse.
func (s *suite) refusalRules() []conform.Rule {
	var rules []conform.Rule
	add := func(name, title, code string, offers ...offer) {
		rules = append(rules, conform.Rule{
			Section: "protocol 5", Name: name, Title: title, Needs: []string{needFields},
			Check: func(ctx context.Context, c *conform.Case) error {
				for _, o := range offers {
					if err := s.refuses(ctx, c, o, code); err != nil {
						return err
					}
				}
				return nil
			},
		})
	}
	wrong := ours()
	wrong.cookieValue = "not the cookie"
	add("refuses-cookie", "The plugin refuses a Plugwire host with another cookie in its answer, with code cookie.", "cookie", wrong)
	future := ours()
	future.versions = "1073741824"
	add("refuses-version", "The plugin refuses a Plugwire host without a common version, with code version.", "version", future)
	add("refuses-protocol", "The plugin refuses a host whose protocol has another name, with code protocol.", "protocol", ours("protocol", "conform.nobody"))
	add("refuses-transport", "The plugin refuses an offer without a common transport, with code transport.", "transport", ours("transports", "carrier/1"), ours("transports", "unix/99,tcp/99"))
	add("refuses-session", "The plugin refuses an offer without a common session, with code session.", "session", ours("sessions", "bonded"))
	add("refuses-wire", "The plugin refuses an offer without a common wire, with code wire.", "wire", ours("wires", "smoke/3"))
	add("refuses-security", "The plugin refuses an offer without a common security, with code security.", "security", ours("security", "handshake"))
	bad := ours("security", "mtls")
	bad.clientCert = "no certificate"
	add("refuses-certificate", "The plugin refuses a host's certificate that it cannot read, with code security.", "security", bad)
	add("refuses-marked-key", "The plugin refuses an offer with a key that it must know and does not, with code offer.", "offer", ours("!x-conform", "1"))
	rules = append(rules, conform.Rule{
		Section: "protocol 3", Name: "malformed-offer", Needs: []string{needFields},
		Title: "The plugin refuses a malformed offer with code offer.",
		Check: s.malformedOffers,
	})
	return rules
}

// malformedOffers sends a few offers with one mistake each.
func (s *suite) malformedOffers(ctx context.Context, c *conform.Case) error {
	for _, mistake := range []string{"|", "|loglevel", "|x=%4", "|x=%zz", "|Key=1", "|x=1|x=2", "|x=1|!x=2", "|lifeline=1", "|" + strings.Repeat("k", 65) + "=1"} {
		o := ours()
		o.lifeline = false
		o.rawOffer = o.fields() + mistake
		if err := s.refuses(ctx, c, o, "offer"); err != nil {
			if f, ok := errors.AsType[*conform.Failure](err); ok {
				f.Seen += ", for an offer that ends with " + clip(mistake)
			}
			return err
		}
	}
	return nil
}
