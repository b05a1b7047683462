package files

import (
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestClean(t *testing.T) {
	long := strings.Repeat("x", maxPart)
	for _, tt := range []struct{ path, want string }{
		{"a", "a"},
		{"a/b.c/d", "a/b.c/d"},
		{"./a//b/./c", "a/b/c"},
		{"...", "..."},
		{"..a/a..", "..a/a.."},
		{"a b", "a b"},
		{"ü/日本", "ü/日本"},
		{"12:30", "12:30"},
		{"CON", "CON"},
		{long + "/" + long, long + "/" + long},
		{strings.Repeat("x/", maxParts-1) + "x", strings.Repeat("x/", maxParts-1) + "x"},
		{strings.Repeat("./", maxParts) + "x", "x"},
	} {
		if got, err := clean(tt.path, false); got != tt.want || err != nil {
			t.Errorf("clean(%q) = %q, %v; want %q", tt.path, got, err, tt.want)
		}
	}
}

func TestCleanRefuses(t *testing.T) {
	for _, tt := range []struct {
		path string
		want codes.Code
	}{
		{"", codes.InvalidArgument},
		{".", codes.InvalidArgument},
		{"./", codes.InvalidArgument},
		{"a/", codes.InvalidArgument},
		{"a/.", codes.InvalidArgument},
		{"a\x00b", codes.InvalidArgument},
		{"a\nb", codes.InvalidArgument},
		{"a\x7f", codes.InvalidArgument},
		{"a\u0085", codes.InvalidArgument},
		{"a\xff", codes.InvalidArgument},
		{`a\b`, codes.InvalidArgument},
		{strings.Repeat("x", maxPart+1), codes.InvalidArgument},
		{strings.Repeat("./", maxPath/2) + "x", codes.InvalidArgument},
		{strings.Repeat("x/", maxParts) + "x", codes.InvalidArgument},
		{"..", codes.PermissionDenied},
		{"../a", codes.PermissionDenied},
		{"a/..", codes.PermissionDenied},
		{"a/../a", codes.PermissionDenied},
		{"a/../../b", codes.PermissionDenied},
		{`..\a`, codes.PermissionDenied},
		{`a\..\b`, codes.PermissionDenied},
		{"/", codes.PermissionDenied},
		{"/etc/passwd", codes.PermissionDenied},
		{"//server/share", codes.PermissionDenied},
		{`\\server\share`, codes.PermissionDenied},
		{`\a`, codes.PermissionDenied},
		{"C:", codes.PermissionDenied},
		{`c:\a`, codes.PermissionDenied},
		{"C:/a", codes.PermissionDenied},
		{stagingDir, codes.PermissionDenied},
		{stagingDir + "/a.part", codes.PermissionDenied},
		{"./" + stagingDir + "/a.part", codes.PermissionDenied},
		{"a/" + stagingDir + "/b", codes.PermissionDenied},
		{strings.ToUpper(stagingDir) + "/a", codes.PermissionDenied},
		{strings.Replace(stagingDir, "s", "ſ", 1), codes.PermissionDenied},
	} {
		if got, err := clean(tt.path, false); status.Code(err) != tt.want {
			t.Errorf("clean(%.40q) = %q, %v; want %v", tt.path, got, err, tt.want)
		}
	}
}

func TestWindowsNames(t *testing.T) {
	for _, part := range []string{
		"CON", "nul", "Aux.txt", "COM1", "lpt9.log", "COM¹", "NUL .txt", "CONOUT$", "a:b", "a.", "a ", "a?", "a*", "<a>", `"`, "a|b", "PLUGWI~1",
	} {
		if !reservedByWindows(part) {
			t.Errorf("%q is not taken for reserved", part)
		}
		if _, err := clean("a/"+part, true); status.Code(err) != codes.InvalidArgument {
			t.Errorf("clean(%q) for Windows: %v, want InvalidArgument", "a/"+part, err)
		}
	}
	for _, part := range []string{"CONSOLE", "COM", "COM10", "COMX", "LPTT", "a.b", "nul_", "a~b", "~", "a~"} {
		if reservedByWindows(part) {
			t.Errorf("%q is taken for reserved", part)
		}
	}
}

func FuzzClean(f *testing.F) {
	for _, seed := range []string{"a/b", "../a", "/a", `C:\a`, "a/./b/", "NUL.txt", stagingDir, "a\x00"} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, filePath string, windows bool) {
		name, err := clean(filePath, windows)
		if err != nil {
			if code := status.Code(err); code != codes.InvalidArgument && code != codes.PermissionDenied {
				t.Errorf("%q: %v", filePath, err)
			}
			return
		}
		if !fs.ValidPath(name) || name == "." || path.Clean(name) != name || !filepath.IsLocal(filepath.FromSlash(name)) {
			t.Errorf("%q became %q", filePath, name)
		}
		if strings.Contains(strings.ToLower(name), stagingDir+"/") || strings.EqualFold(path.Base(name), stagingDir) {
			t.Errorf("%q gets to the staging directory", filePath)
		}
		if again, err := clean(name, windows); again != name || err != nil {
			t.Errorf("%q became %q, which became %q, %v", filePath, name, again, err)
		}
	})
}
