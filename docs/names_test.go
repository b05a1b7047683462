package docs_test

import (
	"regexp"
	"strings"
	"testing"
)

// goPlugins are names of go-plugin's package plugin, and of its services, which pages
// mention.
var goPlugins = map[string]bool{"plugin.ConnInfo": true, "plugin.GRPCBroker": true, "plugin.GRPCController": true, "plugin.GRPCStdio": true}

// TestNamesExist looks for the names on pages, such as host.Launch, in the packages that
// users import. It leaves out blocks between fences, which TestPagesQuoteTheCode
// compares with files, and the changelog, which may name what was removed.
func TestNamesExist(t *testing.T) {
	qualified := regexp.MustCompile(`\b([a-z]+)\.([A-Z]\w*)`)
	packages := make(map[string]goPackage)
	for name, dir := range short {
		packages[name] = parsePackage(t, dir)
	}
	found := 0
	for _, page := range pages(t) {
		if page == "CHANGELOG.md" {
			continue
		}
		for i, line := range unfenced(read(t, page)) {
			for _, m := range qualified.FindAllStringSubmatch(line, -1) {
				p, ok := packages[m[1]]
				if !ok || goPlugins[m[0]] {
					continue
				}
				found++
				if !p.exported[m[2]] {
					t.Errorf("%s:%d: package %s has no %s", page, i+1, strings.TrimPrefix(short[m[1]], "core/"), m[2])
				}
			}
		}
	}
	if found == 0 {
		t.Error("no page names anything")
	}
}
