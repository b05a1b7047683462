package breaking

import (
	"regexp"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// unstableVersion matches an element of a package's name that marks the package as
// unstable: v1alpha, v1alpha1, v1beta2, v1p1beta1, v1test.
var unstableVersion = regexp.MustCompile(`^v[0-9]+(?:p[0-9]+)?(?:alpha|beta|test)[0-9]*$`)

// Unstable reports whether a package is unstable by its name, is listed, or lies in
// a listed package.
func Unstable(name protoreflect.FullName, listed []string) bool {
	for element := range strings.SplitSeq(string(name), ".") {
		if unstableVersion.MatchString(element) {
			return true
		}
	}
	for _, l := range listed {
		if string(name) == l || strings.HasPrefix(string(name), l+".") {
			return true
		}
	}
	return false
}
