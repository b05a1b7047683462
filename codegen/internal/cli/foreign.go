package cli

import (
	"github.com/plugwire/plugwire/codegen/internal/scaffold"
)

// newForeign makes a plugin in another language than Go.
func newForeign(m scaffold.Module, s streams) error {
	complete := func() error { return nil } // the language's own tools do the rest
	if err := scaffold.Write(m.Name, m, complete); err != nil {
		return err
	}
	s.say("made %s, a plugin in %s\nnext:\n    cd %s\n", m.Name, languageNames[m.Lang], m.Name)
	s.say(nextIn[m.Lang], m.Package())
	return nil
}

var languageNames = map[scaffold.Language]string{scaffold.Python: "Python", scaffold.Node: "JavaScript for Node.js"}

// nextIn are the next steps in a new plugin. Their argument is the name of the protocol.
var nextIn = map[scaffold.Language]string{
	scaffold.Python: `    python3 -m venv .venv && .venv/bin/pip install -r requirements.txt
    .venv/bin/python -m grpc_tools.protoc -I. --python_out=. --grpc_python_out=. %[1]s.proto
    .venv/bin/python -m unittest
    plugwire call -proto %[1]s.proto %[1]s.Greeter/Greet '{"name":"Ada"}' -- .venv/bin/python plugin.py
    plugwire conform plugin -profile minimal -- .venv/bin/python plugin.py
`,
	scaffold.Node: `    npm install
    npm test
    plugwire call -proto %[1]s.proto %[1]s.Greeter/Greet '{"name":"Ada"}' -- node plugin.js
    plugwire conform plugin -profile minimal -- node plugin.js
`,
}
