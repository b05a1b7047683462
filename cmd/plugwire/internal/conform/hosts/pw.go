package hosts

import (
	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform/probe"
)

// pwRules are about the wire pw/1.
func pwRules() []*rule {
	broken := func(section, name, title string, way probe.Raw) *rule {
		return &rule{
			section: section, name: name, title: title, needs: pw, judge: failsByCall,
			stage: own(func(s *probe.Scene) { s.Wire, s.Raw = "pw/1", way }),
		}
	}
	return []*rule{
		{
			section: "wire 1", name: "right", needs: right, stage: pw.stage, judge: works,
			title: "The host works with a plugin that takes pw/1, and keeps to its rules.",
		},
		{
			section: "wire 1", name: "tls", needs: pw,
			title: "With mutual TLS, the host offers pw/1 by ALPN.",
			stage: own(func(s *probe.Scene) { s.Wire, s.Security = "pw/1", "mtls" }),
			judge: func(r *record) error {
				if err := mutualTLS(r); err != nil {
					return err
				}
				return alpn(r, "pw/1")
			},
		},
		{
			section: "wire 1", name: "both-sides", needs: pw, judge: calledBack,
			title: "The host answers a call of the plugin that it does not serve with UNIMPLEMENTED.",
			stage: own(func(s *probe.Scene) { s.Wire, s.Extras = "pw/1", probe.Callbacks }),
		},
		broken("wire 8", "unknown-kind", "A frame of an unknown kind ends the connection.", probe.PWKind),
		broken("wire 8", "long-frame", "A frame above the limit of its kind ends the connection.", probe.PWLong),
		broken("wire 8", "parity", "A frame for a call of the plugin's side that has not begun ends the connection.", probe.PWParity),
		broken("wire 8", "not-begun", "A frame for a call that has not begun ends the connection.", probe.PWNotBegun),
		broken("wire 8", "method-number", "A method number that was not given ends the connection.", probe.PWUnnamed),
		broken("wire 8", "no-credit", "A message without credit ends the connection.", probe.PWCredit),
		broken("wire 8", "credit-of-0", "Credit of 0 ends the connection.", probe.PWZero),
		broken("wire 8", "two-headers", "A second header ends the connection.", probe.PWHeaders),
		broken("wire 8", "metadata", "Malformed metadata ends the connection.", probe.PWMetadata),
		broken("wire 8", "piece", "A piece of no message ends the connection.", probe.PWPiece),
		broken("wire 8", "trailing-bytes", "Bytes after the last part of a payload end the connection.", probe.PWTrailing),
		broken("wire 4", "large-message", "A message above the host's limit ends its call.", probe.PWTooMuch),
		broken("wire 5", "goodbye", "After goodbye the host closes the connection, and calls that were not taken have not begun.", probe.PWGoodbye),
	}
}

// failsByCall judges a run in which the first call breaks the wire and is never answered:
// a host that does not notice waits until its time is over.
func failsByCall(r *record) error {
	if !r.has(probe.Called, "") {
		return conform.NotApplicable("the host makes no call, not even of health")
	}
	return r.fails()
}
