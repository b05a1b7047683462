package manifest

import (
	"os"
	"reflect"
	"testing"
)

// FuzzManifest and FuzzLock check that no text makes the decoder panic, and that what it
// accepts can be written and is then read as the same.
func FuzzManifest(f *testing.F) {
	data, err := os.ReadFile("testdata/plugins.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	fuzz(f, kindManifest, accepted)
}

// FuzzLock is FuzzManifest for lock files.
func FuzzLock(f *testing.F) {
	fuzz(f, kindLock, `{"lock": 1, "plugins": [{"name": "a", "command": "a", "checksum": "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}]}`)
}

func fuzz(f *testing.F, k kind, seed string) {
	f.Helper()
	for _, text := range []string{seed, "", "{", "[]", `{"manifest":1}`, `{"lock":1,"plugins":[{}]}`, `{"manifest":1,"plugins":[{"name":"a","command":"a","environment":{},"args":[],"versions":[1],"idle":"1h"}]}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		plugins, err := decode(data, k)
		if err != nil {
			return
		}
		text, err := encode(plugins, k)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decode(text, k)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if len(again) != len(plugins) {
			t.Fatalf("%d plugins, and %d when read again", len(plugins), len(again))
		}
		for i := range plugins {
			if got, want := again[i], plugins[i]; !reflect.DeepEqual(normal(got), normal(want)) {
				t.Errorf("%+v, want %+v", got, want)
			}
		}
	})
}

// normal makes an empty list what a missing one is.
func normal(p Plugin) Plugin {
	if len(p.Args) == 0 {
		p.Args = nil
	}
	if len(p.Versions) == 0 {
		p.Versions = nil
	}
	if len(p.Environment) == 0 {
		p.Environment = nil
	}
	if len(p.Inherit) == 0 {
		p.Inherit = nil
	}
	if len(p.Needs) == 0 {
		p.Needs = nil
	}
	return p
}
