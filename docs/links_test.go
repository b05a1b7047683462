package docs_test

import (
	"path"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

// link matches the target of an inline link.
var link = regexp.MustCompile(`\]\(([^()\s]+)\)`)

// TestLinks follows every link of every page to a file and, if the link has an anchor,
// to a heading. It does not follow links to other sites.
func TestLinks(t *testing.T) {
	anchors := make(map[string]map[string]bool)
	for _, page := range pages(t) {
		anchors[page] = headings(read(t, page))
	}
	count := 0
	for page := range anchors {
		for i, line := range prose(read(t, page)) {
			for _, match := range link.FindAllStringSubmatch(codeSpan.ReplaceAllString(line, "`code`"), -1) {
				target, anchor, _ := strings.Cut(match[1], "#")
				if strings.Contains(match[1], "://") || strings.HasPrefix(match[1], "mailto:") {
					continue
				}
				count++
				name := page
				if target != "" {
					name = path.Join(path.Dir(page), target)
				}
				switch {
				case strings.HasPrefix(name, ".."):
					t.Errorf("%s:%d: %s leads out of the repository", page, i+1, match[1])
				case !exists(name):
					t.Errorf("%s:%d: %s: there is no %s", page, i+1, match[1], name)
				case anchor != "" && !anchors[name][anchor]:
					t.Errorf("%s:%d: %s: %s has no heading with that anchor", page, i+1, match[1], name)
				}
			}
		}
	}
	if count == 0 {
		t.Error("no page has a link")
	}
}

// TestPagesAreListed checks that the list of pages is complete.
func TestPagesAreListed(t *testing.T) {
	const list = "docs/README.md"
	listed := read(t, list)
	for _, page := range pages(t) {
		if dir, name := path.Split(page); dir == "docs/" && page != list && !strings.Contains(listed, "]("+name+")") {
			t.Errorf("%s has no link to %s", list, page)
		}
	}
}

// maxReadme is how many lines of the README a reader passes before the list of pages.
const maxReadme = 150

// TestReadmeIsShort counts the lines of the README before its list of pages.
func TestReadmeIsShort(t *testing.T) {
	before, _, found := strings.Cut(read(t, "README.md"), "\n## More\n")
	if lines := strings.Count(before, "\n"); !found || lines > maxReadme {
		t.Errorf("README.md has %d lines before its list of pages, want at most %d (list found: %v)", lines, maxReadme, found)
	}
}

// TestModulesAreListed looks for each released module in the table of the README. The
// root, modules that only test, measure or explain are not released.
func TestModulesAreListed(t *testing.T) {
	_, section, _ := strings.Cut(read(t, "README.md"), "\n## Modules\n")
	section, _, _ = strings.Cut(section, "\n## ")
	unreleased := regexp.MustCompile(`/internal/|^bench$|^examples/|^interop`)
	found := 0
	for _, m := range regexp.MustCompile(`(?m)^\t\./(\S+)$`).FindAllStringSubmatch(read(t, "go.work"), -1) {
		if unreleased.MatchString(m[1]) {
			continue
		}
		found++
		if !strings.Contains(section, "\n| ["+m[1]+"]("+m[1]+") |") {
			t.Errorf("the modules in README.md lack %s", m[1])
		}
	}
	if found == 0 {
		t.Error("go.work names no module")
	}
}

// headings returns the anchors of a page's headings, as GitHub makes them.
func headings(page string) map[string]bool {
	found := make(map[string]bool)
	for _, line := range prose(page) {
		text := strings.TrimLeft(line, "#")
		if level := len(line) - len(text); level == 0 || level > 6 || !strings.HasPrefix(text, " ") {
			continue
		}
		slug := anchorOf(strings.TrimSpace(text))
		for n := 1; found[slug]; n++ {
			if next := slug + "-" + strconv.Itoa(n); !found[next] {
				slug = next
			}
		}
		found[slug] = true
	}
	return found
}

// anchorOf returns the anchor of the first heading with that text.
func anchorOf(heading string) string {
	heading = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`).ReplaceAllString(heading, "$1")
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_':
			return unicode.ToLower(r)
		case r == ' ':
			return '-'
		default:
			return -1
		}
	}, heading)
}

func TestHeadings(t *testing.T) {
	const page = "# A page\n\n## 9. The `file`, and *more*\n\n```\n# no heading\n```\n\n    # code\n\n## Twice\n## Twice\n#none\n### A [link](x.md)\n"
	got := headings(page)
	for _, want := range []string{"a-page", "9-the-file-and-more", "twice", "twice-1", "a-link"} {
		if !got[want] {
			t.Errorf("there is no %q", want)
		}
		delete(got, want)
	}
	for slug := range got {
		t.Errorf("there is %q", slug)
	}
}
