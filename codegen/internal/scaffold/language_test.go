package scaffold

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func done() error { return nil }

// TestOtherLanguages writes a plugin in each language but Go.
func TestOtherLanguages(t *testing.T) {
	t.Parallel()
	for lang, want := range map[Language][]string{
		Python: {".gitignore", "README.md", "certificate.py", "mtls.py", "myplugin.proto", "plugin.py", "requirements.txt", "test_plugin.py"},
		Node:   {".gitignore", "README.md", "certificate.js", "controller.proto", "health.proto", "mtls.js", "myplugin.proto", "package.json", "plugin.js", "plugin.test.js"},
	} {
		dir := filepath.Join(t.TempDir(), "my-plugin")
		if err := Write(dir, Module{Name: "my-plugin", Lang: lang}, done); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, entry := range entries {
			got = append(got, entry.Name())
			content, err := os.ReadFile(filepath.Join(dir, entry.Name()))
			if err != nil {
				t.Fatal(err)
			}
			text := string(content)
			if strings.Contains(text, "{{") || strings.Contains(text, "go_package") {
				t.Errorf("%s: %s:\n%s", lang, entry.Name(), text)
			}
			if !strings.HasSuffix(text, "\n") || strings.HasSuffix(text, "\n\n") {
				t.Errorf("%s: %s does not end with one line feed", lang, entry.Name())
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", lang, got, want)
		}
	}
}

// TestNothingIsOverwritten writes into directories that have a file.
func TestNothingIsOverwritten(t *testing.T) {
	t.Parallel()
	for _, lang := range Languages {
		dir := t.TempDir()
		file := filepath.Join(dir, "README.md")
		if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Write(dir, Module{Name: "hello", Lang: lang, Module: "example.com/hello"}, done); err == nil {
			t.Errorf("%s: Write wrote into a directory that is not empty", lang)
		}
		if content, err := os.ReadFile(file); err != nil || string(content) != "mine" {
			t.Errorf("%s: %q, %v", lang, content, err)
		}
	}
}

// TestAFailureLeavesNothing fails after the files were written.
func TestAFailureLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, lang := range Languages {
		dir := filepath.Join(t.TempDir(), "hello")
		failure := errors.New("failure")
		err := Write(dir, Module{Name: "hello", Lang: lang, Module: "example.com/hello"}, func() error { return failure })
		if !errors.Is(err, failure) {
			t.Errorf("%s: %v", lang, err)
		}
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: the directory is left: %v", lang, err)
		}
	}
}

// TestTakenFiles looks for .proto files of a template that Check does not know. A name
// of a plugin could replace them.
func TestTakenFiles(t *testing.T) {
	t.Parallel()
	for _, lang := range Languages {
		files, err := fs.Glob(templates, "template/"+string(lang)+"/*.proto.tmpl")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			name := strings.TrimSuffix(path.Base(file), ".proto.tmpl")
			if err := (Module{Name: name, Lang: lang, Module: "example.com/m"}).Check(); err == nil {
				t.Errorf("%s: Check accepts the name %q, and there is %s", lang, name, file)
			}
		}
	}
}
