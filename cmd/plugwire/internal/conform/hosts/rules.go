package hosts

import (
	"slices"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform/probe"
)

// The profiles of rules, beside full.
const (
	everyHost    = conform.Minimal | conform.GoPlugin
	goPluginHost = conform.GoPlugin
	fullHost     = conform.Profile(0)
)

// foreign returns a scene of a plugin on go-plugin, changed by edit.
func foreign(edit func(*probe.Scene)) stage {
	st := own(edit)
	st.scene.Foreign = true
	return st
}

// own returns a scene of a plugin on Plugwire, changed by edit.
func own(edit func(*probe.Scene)) stage {
	var scene probe.Scene
	if edit != nil {
		edit(&scene)
	}
	return stage{scene: scene}
}

// edited returns a change of one field of the answer.
func edited(field, value string) func(*probe.Scene) {
	return func(s *probe.Scene) { s.Edits = map[string]string{field: value} }
}

// printing returns a change of what is printed before the connections.
func printing(parts ...string) func(*probe.Scene) {
	return func(s *probe.Scene) { s.Print = parts }
}

// The runs that others build on.
var (
	plain = &need{rule: "protocol-16/foreign-plugin", stage: foreign(nil)}
	right = &need{rule: "protocol-9/preamble", stage: own(nil)}
	tls   = &need{rule: "protocol-10/mutual-tls", stage: foreign(func(s *probe.Scene) { s.Security = "mtls" })}
	pw    = &need{rule: "wire-1/right", stage: own(func(s *probe.Scene) { s.Wire = "pw/1" })}
)

// works, fails and refuses are judges without conditions of their own.
func works(r *record) error   { return r.works() }
func fails(r *record) error   { return r.fails() }
func refuses(r *record) error { return r.refuses() }

// ends is the judge of a run that may go either way: what matters is that it ends, and that
// nothing is left.
func ends(r *record) error { return r.gone() }

// rules returns all rules.
func (s *suite) rules() []*rule {
	return slices.Concat(s.offerRules(), s.lineRules(), s.answerRules(), s.connectionRules(), s.http2Rules(), pwRules(), lifeRules(), outputRules())
}
