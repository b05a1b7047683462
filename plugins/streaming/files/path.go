package files

import (
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/plugins/streaming/internal/refuse"
)

// These limits of paths are those of Linux, the highest of all systems. A
// system with lower limits returns an error of its own.
const (
	maxPath = 4096 // bytes
	maxPart = 255  // bytes
	// maxParts is deeper than people keep files. The time to make directories and
	// write each to the disk grows with the square of it.
	maxParts = 64
)

// stagingDir is the directory below the root that holds uploads until they are
// complete. No request can reach it.
const stagingDir = ".plugwire-uploads"

// clean returns the name of a request's file for an os.Root, with "/" between
// its parts, or a status that describes what is wrong with it. It checks only
// the text: the os.Root watches where symbolic links lead.
func clean(filePath string, windows bool) (string, error) {
	switch {
	case filePath == "":
		return "", refuse.Invalid("file_path", "file_path is required")
	case len(filePath) > maxPath:
		return "", refuse.Invalid("file_path", "file_path has %d bytes, at most %d are allowed", len(filePath), maxPath)
	case !utf8.ValidString(filePath) || strings.ContainsFunc(filePath, unicode.IsControl):
		return "", refuse.Invalid("file_path", "file_path %s has a control character or is not UTF-8", quote(filePath))
	case leaves(filePath):
		return "", status.Errorf(codes.PermissionDenied, "file_path %s leaves the root", quote(filePath))
	case strings.Contains(filePath, `\`):
		return "", refuse.Invalid("file_path", `file_path %s has a \: the parts of a path are separated by /`, quote(filePath))
	case strings.HasSuffix(filePath, "/") || path.Base(filePath) == ".":
		return "", refuse.Invalid("file_path", "file_path %s names a directory, want a file", quote(filePath))
	}
	name := path.Clean(filePath)
	if parts := strings.Count(name, "/") + 1; parts > maxParts {
		return "", refuse.Invalid("file_path", "file_path has %d parts, at most %d are allowed", parts, maxParts)
	}
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case len(part) > maxPart:
			return "", refuse.Invalid("file_path", "a part of file_path has %d bytes, at most %d are allowed", len(part), maxPart)
		case strings.EqualFold(part, stagingDir): // also on file systems that ignore case
			return "", status.Errorf(codes.PermissionDenied, "%s holds unfinished uploads and cannot be used", stagingDir)
		case windows && reservedByWindows(part):
			return "", refuse.Invalid("file_path", "file_path has the part %s, which Windows reserves", quote(part))
		}
	}
	return name, nil
}

// leaves reports whether a path is absolute or has a part "..", in the syntax of
// any system, because the name may go to another system next.
func leaves(filePath string) bool {
	slashed := strings.ReplaceAll(filePath, `\`, "/")
	if strings.HasPrefix(slashed, "/") || hasDrive(slashed) {
		return true
	}
	for part := range strings.SplitSeq(slashed, "/") {
		if part == ".." {
			return true
		}
	}
	return false
}

// hasDrive reports whether a path begins with a drive of Windows, such as C:/.
func hasDrive(slashed string) bool {
	return len(slashed) >= 2 && slashed[1] == ':' && (len(slashed) == 2 || slashed[2] == '/') &&
		(slashed[0]|0x20 >= 'a' && slashed[0]|0x20 <= 'z')
}

// reservedByWindows reports whether Windows does not treat a part of a path as a
// file of that name. It may be a device, a stream of a file, a pattern, a name
// whose dots or spaces at the end are ignored, or the short name of another
// file, such as LONGNA~1.
func reservedByWindows(part string) bool {
	if strings.ContainsAny(part, `<>:"|?*`) || strings.HasSuffix(part, ".") || strings.HasSuffix(part, " ") {
		return true
	}
	if _, after, ok := strings.Cut(part, "~"); ok && after != "" && after[0] >= '0' && after[0] <= '9' {
		return true
	}
	base, _, _ := strings.Cut(part, ".")
	base = strings.ToUpper(strings.TrimRight(base, " "))
	switch base {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	for _, port := range []string{"COM", "LPT"} {
		number, ok := strings.CutPrefix(base, port)
		if ok && utf8.RuneCountInString(number) == 1 && strings.Contains("0123456789¹²³", number) {
			return true
		}
	}
	return false
}
