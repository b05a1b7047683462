package top

import (
	"context"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/output"
)

// What a terminal is told (ECMA-48, and xterm's second screen).
const (
	enterScreen = "\x1b[?1049h\x1b[?25l" // the second screen, without a cursor
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	toTop       = "\x1b[H"
	endOfLine   = "\x1b[K" // clears the rest of the line
	endOfScreen = "\x1b[J" // clears what is below
)

// live shows each sample in the place of the last one, on a screen of its own. The terminal
// is then as it was before.
func (c *command) live(ctx context.Context) (err error) {
	if err := c.out.Marked(enterScreen + toTop + "looking for hosts"); err != nil {
		return err
	}
	defer func() {
		if leaveErr := c.out.Marked(leaveScreen); err == nil {
			err = leaveErr
		}
	}()
	defer c.onSuspend()()
	return c.eachSample(ctx, func(s *Sample) error {
		width, height, _ := term.GetSize(int(os.Stdout.Fd())) // frame knows what to do without one
		return c.out.Marked(frame(s, width, height, c.out.Bold))
	})
}

// The size of a terminal that does not tell its own, or says 0, as terminals of containers
// and serial lines do. It is what terminals have had for long.
const (
	defaultWidth  = 80
	defaultHeight = 24
)

// frame returns what shows a sample on a screen.
func frame(s *Sample, width, height int, bold func(string) string) string {
	if width <= 0 || height <= 0 {
		width, height = defaultWidth, defaultHeight
	}
	head := fmt.Sprintf("plugwire top, %s: %d plugins", s.Time.Format("15:04:05"), len(s.Plugins))
	lines := append([]string{head, ""}, strings.Split(strings.TrimRight(table(s), "\n"), "\n")...)
	if len(lines) > height {
		hidden := len(lines) - height + 1
		lines = append(lines[:height-1], fmt.Sprintf("%d more lines", hidden))
	}
	const headsAt = 2
	var b strings.Builder
	b.WriteString(toTop)
	for i, line := range lines {
		if i > 0 {
			b.WriteString("\n")
		}
		if runes := []rune(output.Safe(line)); len(runes) > width {
			line = string(runes[:width])
		} else {
			line = string(runes)
		}
		if i == headsAt {
			line = bold(line)
		}
		b.WriteString(line + endOfLine)
	}
	b.WriteString(endOfScreen)
	return b.String()
}
