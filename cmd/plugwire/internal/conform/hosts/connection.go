package hosts

import (
	cryptotls "crypto/tls"
	"fmt"
	"slices"
	"strings"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform/probe"
)

// connectionRules are about connections and what each begins with.
func (s *suite) connectionRules() []*rule {
	mutual := func(edit func(*probe.Scene)) func(*probe.Scene) {
		return func(s *probe.Scene) {
			s.Security = "mtls"
			if edit != nil {
				edit(s)
			}
		}
	}
	return []*rule{
		{
			section: "protocol 16", name: "foreign-plugin", profiles: everyHost, stage: plain.stage, judge: works,
			title: "The host works with a plugin that answers as one on go-plugin.",
		},
		{
			section: "protocol 8", name: "tcp", profiles: everyHost, needs: plain, judge: s.worksOverTCP,
			title: "The host works with a plugin on TCP.",
			stage: foreign(func(s *probe.Scene) { s.Transport = "tcp" }),
		},
		{
			section: "protocol 9", name: "preamble", stage: right.stage,
			title: "The host works with a plugin on Plugwire: each stream begins with the preamble.",
			judge: func(r *record) error {
				if err := r.works(); err != nil {
					return err
				}
				return preambles(r, 2, r.offer().Get("instance"))
			},
		},
		{
			section: "protocol 9", name: "old-preamble", needs: right,
			title: "A plugin that does not name a version of the preamble gets version 1.",
			stage: own(edited("preamble", "-")),
			judge: func(r *record) error {
				if err := r.works(); err != nil {
					return err
				}
				return preambles(r, 1, "")
			},
		},
		{
			section: "protocol 9", name: "calls-first", needs: right, stage: right.stage, judge: callsFirst,
			title: "The first stream is for calls, and the second for callbacks if the offer has them.",
		},
		{
			section: "protocol 9", name: "no-preamble", needs: right, stage: plain.stage,
			title: "A foreign plugin gets no preamble.",
			judge: works,
		},
		{
			section: "protocol 10", name: "peercred", needs: right, judge: works,
			title: "The host works with a plugin that the kernel vouches for.",
			stage: own(func(s *probe.Scene) { s.Security = "peercred" }),
		},
		{
			section: "protocol 10", name: "mutual-tls", profiles: everyHost, stage: tls.stage, needs: plain, judge: mutualTLS,
			title: "With a certificate in the answer there is TLS 1.2 or higher, for localhost, with the host's certificate.",
		},
		{
			section: "protocol 10", name: "alpn", stage: tls.stage, needs: tls,
			title: "The host's TLS offers h2.",
			judge: func(r *record) error { return alpn(r, "h2") },
		},
		{
			section: "protocol 10", name: "pinned", profiles: everyHost, needs: tls, judge: refuses,
			title: "A plugin with another certificate than that of its answer is refused.",
			stage: foreign(mutual(func(s *probe.Scene) { s.Start = probe.OtherCert })),
		},
		{
			section: "protocol 10", name: "p-384", profiles: everyHost, needs: tls, judge: works,
			title: "A certificate on the curve P-384 is accepted.",
			stage: foreign(mutual(func(s *probe.Scene) { s.Curve = "P-384" })),
		},
		{
			section: "protocol 10", name: "p-521", profiles: goPluginHost, needs: tls, judge: works,
			title: "A certificate on the curve P-521, which go-plugin makes, is accepted.",
			stage: foreign(mutual(func(s *probe.Scene) { s.Curve = "P-521" })),
		},
		{
			section: "protocol 10", name: "tls-after-preamble", needs: right,
			title: "TLS begins right after the preamble, with the certificates of offer and answer.",
			stage: own(mutual(nil)),
			judge: func(r *record) error {
				if err := mutualTLS(r); err != nil {
					return err
				}
				return alpn(r, "h2")
			},
		},
		{
			section: "protocol 10", name: "pinned-after-preamble", needs: right, judge: refuses,
			title: "A plugin on Plugwire with another certificate than that of its answer is refused.",
			stage: own(mutual(func(s *probe.Scene) { s.Start = probe.OtherCert })),
		},
		{
			section: "protocol 11", name: "nobody-listens", profiles: everyHost, needs: plain, judge: refuses,
			title: "A plugin at whose address nobody listens is refused.",
			stage: foreign(func(s *probe.Scene) { s.Start = probe.NoListener }),
		},
		{
			section: "protocol 11", name: "closed-at-once", profiles: everyHost, needs: plain, judge: withCalls(plain, s, refuses),
			title: "A plugin that closes each connection at once is refused.",
			stage: foreign(func(s *probe.Scene) { s.Start = probe.Cut }),
		},
		{
			section: "protocol 15", name: "mute", needs: right, judge: refuses, slow: slowStart,
			title: "A plugin that takes connections and says nothing is refused when the start has taken too long.",
			stage: own(func(s *probe.Scene) { s.Start = probe.Mute }),
		},
		{
			section: "protocol 11", name: "authority", needs: right, stage: right.stage, judge: authority,
			title: "The host calls with :authority localhost.",
		},
		{
			section: "protocol 11", name: "status", profiles: everyHost, needs: plain, judge: withCalls(plain, s, fails),
			title: "A call that the plugin answers with an error fails at the host.",
			stage: foreign(func(s *probe.Scene) { s.Call = probe.Fail }),
		},
		{
			section: "protocol 11", name: "callbacks", needs: right, judge: calledBack,
			title: "The host answers a call of the plugin that it does not serve with UNIMPLEMENTED.",
			stage: own(func(s *probe.Scene) { s.Extras = probe.Callbacks }),
		},
		{
			section: "protocol 12", name: "ready", needs: right, judge: callsReady,
			title: "The host calls Ready before its first other call if the answer has ready.",
			stage: own(func(s *probe.Scene) { s.Extras = probe.Ready }),
		},
		{
			section: "protocol 12", name: "not-ready", needs: right, judge: refuses,
			title: "A plugin whose Ready fails is refused.",
			stage: own(func(s *probe.Scene) { s.Extras = probe.NotReady }),
		},
	}
}

// withCalls judges only hosts that make a call in the run that others build on.
func withCalls(base *need, s *suite, judge func(*record) error) func(*record) error {
	return func(r *record) error {
		seen, err := s.played(&base.stage)
		if err != nil {
			return err
		}
		if !seen.has(probe.Called, "") {
			return conform.NotApplicable("the host makes no call, not even of health")
		}
		return judge(r)
	}
}

func (s *suite) worksOverTCP(r *record) error {
	if r.offer().Plugwire && r.env().Get(probe.EnvClientCert) == "" && !s.plaintext {
		return conform.NotApplicable("the host sends no %s, and its user does not allow plaintext", probe.EnvClientCert)
	}
	return r.works()
}

// preambles returns a failure if a stream does not begin with this preamble.
func preambles(r *record, version int, identity string) error {
	for _, s := range r.streams() {
		if s.Version != version || s.Identity != identity {
			return conform.Fail(fmt.Sprintf("version %d of the preamble with identity %q", version, identity),
				fmt.Sprintf("version %d with identity %q", s.Version, s.Identity), "the answer's preamble says which version the plugin reads; the identity is the instance")
		}
	}
	return nil
}

func callsFirst(r *record) error {
	var purposes []int
	for _, s := range r.streams() {
		purposes = append(purposes, s.Purpose)
	}
	want := []int{probe.PurposeCalls}
	if r.offer().Get("callbacks") == "1" {
		want = append(want, probe.PurposeCallbacks)
	}
	if len(purposes) < len(want) || !slices.Equal(purposes[:len(want)], want) {
		return conform.Fail(fmt.Sprintf("streams with the purposes %v", want), fmt.Sprintf("purposes %v", purposes), "open the stream for callbacks right after that for calls")
	}
	return nil
}

func mutualTLS(r *record) error {
	if err := r.works(); err != nil {
		return err
	}
	for _, s := range r.streams() {
		switch {
		case !s.TLS || s.TLSVersion < cryptotls.VersionTLS12:
			return conform.Fail("TLS 1.2 or higher", cryptotls.VersionName(s.TLSVersion), "raise the lowest version")
		case s.ServerName != "localhost":
			return conform.Fail("the server name localhost, whatever the address", fmt.Sprintf("%q", s.ServerName), "set the server name")
		}
	}
	return nil
}

func alpn(r *record, want string) error {
	for _, s := range r.streams() {
		if s.ALPN != want {
			return conform.Fail("the protocol "+want+" in ALPN", fmt.Sprintf("%q", s.ALPN), "offer it in the handshake of TLS")
		}
	}
	return nil
}

func authority(r *record) error {
	called := false
	for _, e := range r.plugin().events {
		if e.Kind != probe.Called {
			continue
		}
		called = true
		if got := strings.Join(e.Headers[":authority"], ","); got != "localhost" {
			return conform.Fail(":authority localhost", got, "set the authority of the channel")
		}
	}
	if !called {
		return conform.NotApplicable("the host makes no call, not even of health")
	}
	return nil
}

func calledBack(r *record) error {
	if r.offer().Get("callbacks") != "1" {
		return conform.NotApplicable("the host serves nothing")
	}
	if err := r.works(); err != nil {
		return err
	}
	if e, ok := r.find(probe.CalledBack, ""); ok && e.Text != "Unimplemented" {
		return conform.Fail("status UNIMPLEMENTED", e.Text, "answer a method that is not served with UNIMPLEMENTED")
	} else if !ok {
		return conform.Fail("an answer to the plugin's call", "none in 5 s", "serve gRPC on the stream for callbacks")
	}
	return nil
}

func callsReady(r *record) error {
	if err := r.works(); err != nil {
		return err
	}
	ready, call := r.plugin().first(probe.Readied, ""), r.plugin().first(probe.Called, "")
	if ready < 0 || call >= 0 && call < ready {
		return conform.Fail("Ready before the first other call", "the plugin saw: "+r.steps(), "call /plugwire.v1.Control/Ready if the answer has ready=1")
	}
	return nil
}
