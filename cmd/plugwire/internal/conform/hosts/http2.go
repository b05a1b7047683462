package hosts

import (
	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform/probe"
)

// raw returns a scene that treats HTTP/2 frame by frame.
func raw(r probe.Raw) stage {
	return foreign(func(s *probe.Scene) { s.Raw = r })
}

// http2 is a run that rules of HTTP/2 build on: the same library may be more careful with
// one server than with another.
var http2 = &need{rule: "protocol-11/http2", stage: raw(probe.H2Right)}

// http2Rules are about gRPC over HTTP/2, with a server that does what no library does.
func (s *suite) http2Rules() []*rule {
	all := []*rule{
		{
			section: "protocol 11", name: "http2", profiles: everyHost, stage: http2.stage, needs: plain, judge: speaksHTTP2,
			title: "The host speaks HTTP/2 with prior knowledge, and answers SETTINGS and PING.",
		},
		{
			section: "protocol 11", name: "request", profiles: everyHost, stage: http2.stage, judge: requestIsGRPC,
			title: "A call is a POST of application/grpc with te: trailers.",
		},
		{
			section: "protocol 11", name: "not-http2", profiles: everyHost, stage: raw(probe.H2Garbage), judge: refuses,
			title: "A plugin that does not speak HTTP/2 is refused.",
		},
		{
			section: "protocol 11", name: "reset", profiles: everyHost, stage: raw(probe.H2Reset), judge: fails,
			title: "A call that is reset fails.",
		},
		{
			section: "protocol 11", name: "goaway", profiles: everyHost, stage: raw(probe.H2GoAway), judge: ends,
			title: "After GOAWAY and the end of the connection, the host ends.",
		},
		{
			section: "protocol 11", name: "no-status", profiles: everyHost, stage: raw(probe.H2NoStatus), judge: fails,
			title: "A call that ends without grpc-status fails.",
		},
		{
			section: "protocol 11", name: "odd-status", profiles: everyHost, stage: raw(probe.H2OddStatus), judge: fails,
			title: "A call whose grpc-status is not a valid number fails.",
		},
		{
			section: "protocol 11", name: "http-error", profiles: everyHost, stage: raw(probe.H2HTTPError), judge: fails,
			title: "A call that is answered with an error of HTTP fails.",
		},
		{
			section: "protocol 11", name: "large-frame", profiles: everyHost, stage: raw(probe.H2Frame), judge: fails,
			title: "A frame above the host's limit ends the connection.",
		},
		{
			section: "protocol 11", name: "credit-overflow", profiles: everyHost, stage: raw(probe.H2Window), judge: ends,
			title: "More credit than HTTP/2 has does not stop the host from ending.",
		},
		{
			section: "protocol 11", name: "flood", profiles: everyHost, stage: raw(probe.H2Flood), judge: ends,
			title: "A flood of PING and SETTINGS does not stop the host from ending.",
		},
		{
			section: "protocol 11", name: "giant-message", stage: raw(probe.H2Giant), judge: s.boundedMemory(fails),
			title: "A message that claims 4 GiB fails, and costs the host no memory.",
		},
		{
			section: "protocol 11", name: "endless-headers", stage: raw(probe.H2Headers), judge: s.boundedMemory(fails),
			title: "Headers without an end fail, and cost the host no memory.",
		},
	}
	for _, r := range all {
		judge := r.judge
		r.judge = func(seen *record) error {
			if err := brokenOnlyByCalls(r, seen); err != nil {
				return err
			}
			return judge(seen)
		}
		if r.needs == nil {
			r.needs = http2
		}
	}
	return all
}

// brokenOnlyByCalls returns that a rule does not apply if the probe waits for a call before
// it breaks the wire, and the host makes none.
func brokenOnlyByCalls(r *rule, seen *record) error {
	if way := r.stage.scene.Raw; way != probe.H2Right && way != probe.H2Garbage && !seen.has(probe.Called, "") {
		return conform.NotApplicable("the host makes no call, not even of health")
	}
	return nil
}

func speaksHTTP2(r *record) error {
	if err := r.works(); err != nil {
		return err
	}
	for _, step := range []string{"SETTINGS acknowledged", "PING answered"} {
		if !r.has(probe.Seen, step) {
			return conform.Fail(step, "it was not; the plugin saw: "+r.steps(), "answer these frames, as RFC 9113 says")
		}
	}
	return nil
}

func requestIsGRPC(r *record) error {
	e, ok := r.find(probe.Called, "")
	if !ok {
		return conform.NotApplicable("the host makes no call, not even of health")
	}
	want := map[string]string{":method": "POST", "te": "trailers", "content-type": "application/grpc"}
	for name, value := range want {
		got := e.Headers[name]
		if len(got) != 1 || got[0] != value && (name != "content-type" || !hasSubtype(got[0])) {
			return conform.Fail(name+": "+value, name+": "+sprint(got), "a call of gRPC needs it")
		}
	}
	return nil
}
