package glue

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/compiler/protogen"
)

func TestComment(t *testing.T) {
	got := comment(strings.Repeat("word ", 16), "Another.").String()
	want := "// word word word word word word word word word word word word word word word\n// word\n//\n// Another.\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestArticle(t *testing.T) {
	for name, want := range map[string]string{
		"Greeter": "a Greeter", "Echo": "an Echo", "UserService": "a UserService", "Uploader": "an Uploader", "Universe": "a Universe",
	} {
		if got := article(name); got != want {
			t.Errorf("article(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestList(t *testing.T) {
	for want, names := range map[string][]string{"A": {"A"}, "A and B": {"A", "B"}, "A, B and C": {"A", "B", "C"}} {
		if got := list(names); got != want {
			t.Errorf("list(%q) = %q, want %q", names, got, want)
		}
	}
}

func TestTame(t *testing.T) {
	for comment, want := range map[string]string{
		"go:generate rm\n":                  " go:generate rm\n",
		" text\ngo:build ignore\n":          " text\n go:build ignore\n",
		"line a.go:1\nexport F\nextern F\n": " line a.go:1\n export F\n extern F\n",
		" +build ignore\n":                  " + build ignore\n",
		"lint:ignore x\n":                   " lint:ignore x\n",
		" go:build is a word\n":             " go:build is a word\n",
		"See http://example.com\nlinear\n":  "See http://example.com\nlinear\n",
		"":                                  "",
	} {
		if got := string(tame(protogen.Comments(comment))); got != want {
			t.Errorf("tame(%q) = %q, want %q", comment, got, want)
		}
	}
}
