package manifest

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/protocol"
)

// write writes a file in a directory of the test, and returns its path.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoad(t *testing.T) {
	t.Parallel()
	m, err := Load(filepath.Join("testdata", "plugins.json"))
	if err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	want := []Plugin{
		{
			Name: "store", Command: filepath.Join(dir, "bin", "store-plugin"), Args: []string{"-dir", "/var/lib/store"},
			Protocol: "example.store", Versions: []int{2, 1},
			Environment: map[string]string{"STORE_LEVEL": "info"}, Inherit: []string{"HOME"}, written: "bin/store-plugin",
		},
		{
			Name: "words", Command: filepath.Join(dir, "bin", "words-plugin"),
			Checksum: "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
			Optional: true, Needs: []string{"store"}, Lazy: true, Idle: 10 * time.Minute, written: "bin/words-plugin",
		},
	}
	if !reflect.DeepEqual(m.Plugins, want) {
		t.Errorf("got  %+v\nwant %+v", m.Plugins, want)
	}
}

// Each mistake is an error that names the file, the line, the column and the plugin.
func TestMistakes(t *testing.T) {
	t.Parallel()
	const first = `{"manifest": 1, "plugins": [
  {"name": "a", "command": "a"},
  {"name": "b", "command": "b", `
	dir := t.TempDir()
	for text, want := range map[string]string{
		first + `"comand": "b"}]}`:                                `:3:33: plugins: plugin number 2 (b): unknown field "comand"`,
		first + `"Command": "b"}]}`:                               `:3:33: plugins: plugin number 2 (b): unknown field "Command"`,
		first + `"command": "c"}]}`:                               `:3:33: plugins: plugin number 2 (b): duplicate field "command"`,
		first + `"args": "x"}]}`:                                  `:3:41: plugins: plugin number 2 (b): args: want a list of strings`,
		first + `"args": [1]}]}`:                                  `:3:42: plugins: plugin number 2 (b): args: want a string`,
		first + `"versions": [1, 1]}]}`:                           `:3:49: plugins: plugin number 2 (b): versions: duplicate 1`,
		first + `"versions": [0]}]}`:                              `:3:46: plugins: plugin number 2 (b): versions: want a number of at least 1`,
		first + `"idle": "soon"}]}`:                               `plugin number 2 (b): idle: "soon" is not a duration such as "10m"`,
		first + `"idle": "-1s"}]}`:                                `"-1s" is not a duration`,
		first + `"lazy": 1}]}`:                                    `lazy: want true or false`,
		first + `"checksum": "9f86"}]}`:                           `the checksum "9f86" does not begin with the name of a hash and a colon: sha256, sha384, sha512`,
		first + `"checksum": "sha256:9f86"}]}`:                    `the checksum "sha256:9f86" has 2 bytes, and one of sha256 has 32`,
		first + `"checksum": "sha256:xy"}]}`:                      `is not hexadecimal`,
		first + `"environment": {"A=B": ""}}]}`:                   `environment: "A=B": it is not a valid environment variable name`,
		first + `"environment": {"A": 1}}]}`:                      `environment: "A": want a string`,
		first + `"environment": {"A": "", "A": ""}}]}`:            `duplicate field "A"`,
		first + `"environment": {"A": ""}, "inherit": ["A"]}]}`:   `A is in environment and in inherit`,
		first + `"environment": {"A\u001b[2K": ""}}]}`:            `environment: "A\x1b[2K": it is not a valid environment variable name`,
		first + `"inherit": ["A\rB"]}]}`:                          `inherit: "A\rB": it is not a valid environment variable name`,
		first + `"inherit": ["A\u202eB"]}]}`:                      `inherit: "A\u202eB": it is not a valid environment variable name`,
		first + `"protocol": "p\u001b[2K"}]}`:                     `protocol: "p\x1b[2K": a name has 1 to 255 letters`,
		first + `"inherit": [""]}]}`:                              `inherit: "": it is not a valid environment variable name`,
		first + `"args": ["\u0000"]}]}`:                           `args: it contains a zero byte`,
		first + `"needs": ["a b"]}]}`:                             `needs: "a b": a name has 1 to 255 letters`,
		first + `"permissions": {}}]}`:                            `unknown field "permissions"`,
		`{"manifest": 1, "plugins": [{"command": "a"}]}`:          `:1:44: plugins: plugin number 1: it has no name`,
		`{"manifest": 1, "plugins": [{"name": "a"}]}`:             `plugin number 1 (a): it has no command`,
		strings.Replace(first, `"b"`, `"a"`, 1) + `"args": []}]}`: `plugin number 2 (a): duplicate name`,
		`{"plugins": []}`:                                         `:1:15: it has no field "manifest", which is the version of the format: 1`,
		`{"manifest": 2}`:                                         `the format has version 2, and this release reads version 1`,
		`{"lock": 1}`:                                             `unknown field "lock"`,
		`{"manifest": 1} x`:                                       `the file goes on after its end`,
		`{"manifest": 1`:                                          `the file ends too early`,
		`{"manifest": 1,}`:                                        `not valid JSON`,
		`[]`:                                                      `:1:1: want an object`,
		``:                                                        `:1:1: the file ends too early`,
		"\xff":                                                    `it is not UTF-8 text`,
		`{"manifest": 1, "plugins": [{"args": [` + strings.Repeat(`"",`, maxElements) + `""]}]}`: `a list has at most 4096 elements`,
		strings.Repeat(" ", maxFile+1): `is larger than 1048576 bytes`,
	} {
		path := write(t, dir, "plugins.json", text)
		_, err := Load(path)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "load the manifest: "+path) {
			t.Errorf("%.200s\n%v, want %s", text, err, want)
		}
	}
	if _, err := Load(filepath.Join(dir, "missing")); !os.IsNotExist(unwrap(err)) {
		t.Error(err)
	}
}

// unwrap returns the innermost error.
func unwrap(err error) error {
	for {
		inner, ok := err.(interface{ Unwrap() error })
		if !ok || inner.Unwrap() == nil || os.IsNotExist(err) {
			return err
		}
		err = inner.Unwrap()
	}
}

// A spec has what the manifest says, and the versions of the protocol that the host has.
func TestSpecs(t *testing.T) {
	t.Parallel()
	one, two, other := protocol.New("p", 1), protocol.New("p", 2), protocol.New("q", 1)
	for _, tt := range []struct {
		plugin Plugin
		has    []*protocol.Protocol
		want   string // the versions, or part of the error
	}{
		{Plugin{}, []*protocol.Protocol{one, two}, "[p/1 p/2]"},
		{Plugin{Versions: []int{2, 3}}, []*protocol.Protocol{one, two}, "[p/2]"},
		{Plugin{Protocol: "q"}, []*protocol.Protocol{one, other}, "[q/1]"},
		{Plugin{}, []*protocol.Protocol{one, other}, "the manifest names no protocol, and the host has several"},
		{Plugin{Protocol: "q", Versions: []int{2}}, []*protocol.Protocol{one, other}, "the host does not have the protocol q in one of the versions [2]: it has p/1, q/1"},
	} {
		chosen, err := tt.plugin.choose(tt.has)
		got := fmt.Sprint(chosen)
		if err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%+v: %s, want %s", tt.plugin, got, tt.want)
		}
	}
	m := &Manifest{Plugins: []Plugin{{Name: "a", Command: "/a", Needs: []string{"b"}, Lazy: true}, {Name: "b", Command: "/b", Optional: true, Idle: 1}}}
	var asked []string
	specs, err := m.Specs([]*protocol.Protocol{one}, func(p Plugin) []host.Option {
		asked = append(asked, p.Name)
		return nil
	})
	if err != nil || len(specs) != 2 || !slices.Equal(asked, []string{"a", "b"}) {
		t.Fatal(specs, err, asked)
	}
	a, b := specs[0], specs[1]
	if a.Name != "a" || !slices.Equal(a.Needs, []string{"b"}) || !a.Lazy || a.Optional || !b.Optional || b.Idle != 1 || a.Revision == b.Revision {
		t.Errorf("%+v", specs)
	}
	m.Plugins[0].Protocol = "unknown"
	if _, err := m.Specs([]*protocol.Protocol{one}, nil); err == nil || !strings.HasPrefix(err.Error(), "plugin a: ") {
		t.Error(err)
	}
}

// The revision differs with everything that the process is started with, and only with that.
func TestRevision(t *testing.T) {
	t.Parallel()
	p := Plugin{Command: "/a", Args: []string{"x"}, Checksum: "c", Protocol: "p", Versions: []int{1}, Environment: map[string]string{"A": "b"}, Inherit: []string{"H"}}
	for name, change := range map[string]func(*Plugin){
		"command":             func(p *Plugin) { p.Command = "/b" },
		"args":                func(p *Plugin) { p.Args = []string{"x", ""} },
		"args that look like": func(p *Plugin) { p.Args = []string{`x" "`} },
		"checksum":            func(p *Plugin) { p.Checksum = "" },
		"protocol":            func(p *Plugin) { p.Protocol = "" },
		"versions":            func(p *Plugin) { p.Versions = nil },
		"value":               func(p *Plugin) { p.Environment = map[string]string{"A": "c"} },
		"variable":            func(p *Plugin) { p.Environment = map[string]string{"A": "b", "B": ""} },
		"inherit":             func(p *Plugin) { p.Inherit = nil },
	} {
		q := p
		if change(&q); q.revision() == p.revision() {
			t.Errorf("%s: the same revision", name)
		}
	}
	q := p
	q.Optional, q.Needs, q.Lazy, q.Idle = true, []string{"z"}, true, 1
	if q.revision() != p.revision() {
		t.Error("the revision differs with what the group alone needs")
	}
}

// A plugin gets the variables that its entry names, and no other.
func TestEnvironment(t *testing.T) {
	t.Setenv("MANIFEST_TEST_SECRET", "s")
	t.Setenv("MANIFEST_TEST_INHERITED", "i")
	p := Plugin{Environment: map[string]string{"B": "2", "A": "1"}, Inherit: []string{"MANIFEST_TEST_INHERITED", "MANIFEST_TEST_UNSET"}}
	if got, want := p.environ(), []string{"A=1", "B=2", "MANIFEST_TEST_INHERITED=i"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := (Plugin{}).environ(); got == nil || len(got) > 0 {
		t.Errorf("%#v: nil would be the environment of the host", got)
	}
}
