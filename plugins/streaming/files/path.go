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

// The limits of paths: those of Linux, which are the highest that the systems
// have in common. A system with lower ones says so itself.
const (
	maxPath = 4096 // bytes
	maxPart = 255  // bytes
	// maxParts is deeper than people keep files. To make directories, and to have
	// the disk take note of each, takes the square of it.
	maxParts = 64
)

// stagingDir is the directory below the root that holds uploads until they are
// complete. No request gets to it.
const stagingDir = ".plugwire-uploads"

// clean returns the name under which an os.Root has the file that a request
// names, with "/" between its parts, or a status that says what is wrong with
// it. It goes by the text alone: where symbolic links lead is the os.Root's to
// watch.
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
		case strings.EqualFold(part, stagingDir): // also where case does not matter to the file system
			return "", status.Errorf(codes.PermissionDenied, "%s holds unfinished uploads and cannot be used", stagingDir)
		case windows && reservedByWindows(part):
			return "", refuse.Invalid("file_path", "file_path has the part %s, which Windows reserves", quote(part))
		}
	}
	return name, nil
}

// leaves reports whether a path is absolute or has a part "..", in the syntax of
// any system: what is harmless here may not be where the name goes next.
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

// hasDrive reports whether a path begins with a drive of Windows, as C:/.
func hasDrive(slashed string) bool {
	return len(slashed) >= 2 && slashed[1] == ':' && (len(slashed) == 2 || slashed[2] == '/') &&
		(slashed[0]|0x20 >= 'a' && slashed[0]|0x20 <= 'z')
}

// reservedByWindows reports whether Windows takes a part of a path for something
// else than a file of that name: a device, a stream of a file, a pattern, a name
// without the dots or spaces at its end, or perhaps the short name of another
// file, as LONGNA~1.
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
