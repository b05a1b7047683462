package differential

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/metadata"
)

// program is what both sides of some calls do.
type program []step

// step is one operation of one side of a call. Its text is
//
//	CALL SIDE OPERATION [NAME=VALUE or WORD]...
//
// CALL is the number of the call. SIDE is c for the caller, s for the handler. The next step
// begins when this one has ended. An operation that ends in & goes on beside the next
// steps; later steps of the same side wait for it. A space in a value is written as +.
//
// The caller's operations:
//
//	invoke              a unary call; it goes on beside the next steps
//	open                opens a stream
//	send N              sends a message of N bytes
//	half                ends the sending
//	recv, drain         receives one message; receives until an error
//	header, trailer     the metadata of the answer
//	cancel              cancels the call; it does not wait for other steps
//	expire              waits until the deadline has passed
//	join                waits for the steps that go on
//
// A call that fails while its caller sends the message is unsent: grpc-go has sent its header
// by then, and the other side may see that or not. A caller leaves if it gives up for another
// reason than its context: the caller and the stats handlers of its server may see the trailer
// or not. A call is refused if no handler gets it: the answer can come before grpc-go has sent
// the message. A call is unended if grpc-go never tells the stats handlers of its end.
//
// The handler's operations:
//
//	recv, send N                        like the caller's
//	setheader, sendheader, settrailer   with md
//	ctx                                 what its context has
//	done                                waits for the end of its context
//	join                                waits for the steps that go on
//	reply N                             a unary handler returns a message of N bytes
//	return                              it returns, with code, msg, details, or err
//	panic, goexit                       how else it can end
type step struct {
	call int
	side byte // 'c' or 's'
	op   string
	goOn bool // the next step does not wait
	args []arg
}

// arg is an argument of a step. A word has no value.
type arg struct{ name, value string }

// text returns the value of an argument, or "".
func (s step) text(name string) string {
	for _, a := range s.args {
		if a.name == name {
			return a.value
		}
	}
	return ""
}

// has reports whether the step has an argument.
func (s step) has(name string) bool {
	for _, a := range s.args {
		if a.name == name {
			return true
		}
	}
	return false
}

// number returns the first word as a number, or 0.
func (s step) number() int {
	for _, a := range s.args {
		if n, err := strconv.Atoi(a.name); err == nil {
			return n
		}
	}
	return 0
}

// int returns an argument as a number, or otherwise.
func (s step) int(name string, otherwise int) int {
	if n, err := strconv.Atoi(s.text(name)); err == nil {
		return n
	}
	return otherwise
}

// timeout returns the timeout of a call, or 0.
func (s step) timeout() time.Duration {
	d, err := time.ParseDuration(s.text("timeout"))
	if err != nil {
		return 0
	}
	return d
}

// metadata returns the arguments named md: KEY:VALUE each.
func (s step) metadata() metadata.MD {
	md := metadata.MD{}
	for _, a := range s.args {
		if a.name == "md" {
			key, value, _ := strings.Cut(a.value[1:], ":") // a key may begin with a colon
			key = a.value[:1] + key
			md[key] = append(md[key], unquote(value)) // not Append, which changes the key
		}
	}
	return md
}

// unquote returns the bytes of a value, in which + is a space and %XX a byte.
func unquote(value string) string {
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		switch {
		case value[i] == '+':
			b.WriteByte(' ')
		case value[i] == '%' && i+2 < len(value):
			n, err := strconv.ParseUint(value[i+1:i+3], 16, 8)
			if err != nil {
				b.WriteByte('%')
				continue
			}
			b.WriteByte(byte(n))
			i += 2
		default:
			b.WriteByte(value[i])
		}
	}
	return b.String()
}

// String returns the text of a step.
func (s step) String() string {
	text := fmt.Sprintf("%d %c %s", s.call, s.side, s.op)
	if s.goOn {
		text += "&"
	}
	var textSb164 strings.Builder
	for _, a := range s.args {
		textSb164.WriteString(" " + a.name)
		if a.value != "" {
			textSb164.WriteString("=" + a.value)
		}
	}
	text += textSb164.String()
	return text
}

// String returns the text of a program.
func (p program) String() string {
	lines := make([]string, len(p))
	for i, s := range p {
		lines[i] = s.String()
	}
	return strings.Join(lines, "\n")
}

// parseStep returns the step with a text.
func parseStep(text string) (step, error) {
	fields := strings.Fields(text)
	if len(fields) < 3 || fields[1] != "c" && fields[1] != "s" {
		return step{}, fmt.Errorf("%q is not a step", text)
	}
	call, err := strconv.Atoi(fields[0])
	if err != nil {
		return step{}, fmt.Errorf("%q: %w", text, err)
	}
	op, goOn := strings.CutSuffix(fields[2], "&")
	s := step{call: call, side: fields[1][0], op: op, goOn: goOn || op == "invoke"}
	for _, field := range fields[3:] {
		name, value, _ := strings.Cut(field, "=")
		s.args = append(s.args, arg{name, value})
	}
	return s, nil
}

// namedProgram is a program of a file.
type namedProgram struct {
	name  string
	steps program
}

// parsePrograms returns the programs of a file. Each begins with a line "== NAME". A line
// that begins with # is a comment.
func parsePrograms(text string) (all []namedProgram, err error) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "== "); ok {
			all = append(all, namedProgram{name: name})
			continue
		}
		if line == "" || line[0] == '#' {
			continue
		}
		if len(all) == 0 {
			return nil, fmt.Errorf("%q is before the first program", line)
		}
		s, err := parseStep(line)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", all[len(all)-1].name, err)
		}
		all[len(all)-1].steps = append(all[len(all)-1].steps, s)
	}
	return all, nil
}
