//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/plugwire/plugwire/core/plugin"
)

// The names of variables.
const (
	offer    = "PLUGWIRE_OFFER"
	versions = "PLUGIN_PROTOCOL_VERSIONS"
)

// defects are all defects by name. The test says which rules find each of them.
var defects = map[string]defect{
	// What the plugin reads.
	"any-cookie": {variable: func(name, value string) string {
		if name == "PLUGIN_MAGIC_COOKIE" {
			return "plugwire"
		}
		return value
	}},
	"first-version": {variable: change(versions, func(v string) string { return firstOf(v, ",") })},
	"lowest-version": {variable: change(versions, func(v string) string {
		if strings.Contains(","+v+",", ",3,") {
			return "3"
		}
		return v
	})},
	"strict-versions": {begin: func(*broken) {
		for item := range strings.SplitSeq(os.Getenv(versions), ",") {
			if _, err := strconv.Atoi(item); err != nil && os.Getenv(versions) != "" {
				os.Exit(1)
			}
		}
	}},
	"demands-version": {begin: func(*broken) {
		if v := os.Getenv(versions); v == "1073741824" && os.Getenv(offer) == "" {
			os.Exit(1)
		}
	}},
	"strict-keys": {begin: func(*broken) {
		if strings.Contains(os.Getenv(offer), "|x-conform=") {
			os.Exit(1)
		}
	}},
	"ignores-mark":     {variable: change(offer, func(v string) string { return strings.Replace(v, "!x-conform", "x-conform", 1) })},
	"tolerant-offer":   {variable: change(offer, func(v string) string { return strings.ReplaceAll(v, "%zz", "") })},
	"own-order":        {variable: change(offer, func(v string) string { return strings.Replace(v, "tcp/1,unix/1", "unix/1,tcp/1", 1) })},
	"own-directory":    {variable: change("PLUGIN_UNIX_SOCKET_DIR", nothing)},
	"no-mtls":          {variable: underForeign("PLUGIN_CLIENT_CERT", nothing)},
	"no-seventh-field": {variable: change("PLUGIN_MULTIPLEX_GRPC", nothing)},
	"crash-on-plugwire": {begin: func(*broken) {
		if os.Getenv(offer) != "" {
			os.Exit(3)
		}
	}},

	// What the plugin answers.
	"prints-before": {answer: func(line string) string { return "starting\n" + line + "\n" }},
	"no-flush":      {answer: nothing},
	"no-line-feed":  {answer: func(line string) string { return line }},
	"net-rpc":       {answer: func(line string) string { return strings.Replace(line, "|grpc|", "|netrpc|", 1) + "\n" }},
	"seven-fields":  {answer: func(line string) string { return foreignLine(line, line+"|") + "\n" }},
	"early-answer": {answer: func(line string) string {
		fields := strings.Split(line, "|")
		fields[3] += "-soon"
		return foreignLine(line, strings.Join(fields, "|")) + "\n"
	}},
	"padded-certificate": {answer: func(line string) string {
		fields := strings.Split(line, "|")
		if len(fields) > 5 && fields[5] != "" {
			fields[5] += "="
		}
		return strings.Join(fields, "|") + "\n"
	}},
	"unasked-certificate": tlsDefect(tlsFault{always: true, anyone: true}),
	"other-instance":      {answer: func(line string) string { return strings.Replace(line, "|instance=", "|instance=other-", 1) + "\n" }},
	"no-extended": {answer: func(line string) string {
		if strings.Contains(line, "instance=") {
			line = strings.Join(strings.SplitN(line, "|", 7)[:6], "|")
		}
		return line + "\n"
	}},
	"refuses-with-zero": {exit: func(int) int { return 0 }},

	// Where the plugin listens.
	"open-socket": {listening: func(path string) { must(os.Chmod(path, 0o666)) }},
	"socket-stays": {options: []plugin.Option{plugin.OnShutdown(func(context.Context) error { return nil })}, listening: func(path string) {
		socket = path
	}, exit: func(code int) int {
		if socket != "" {
			_ = os.WriteFile(socket, nil, 0o600) // its directory may have gone
		}
		return code
	}},
	"few-connections": {conn: func(p *broken, c *net.UnixConn) net.Conn {
		const most = 6
		if p.conns > most {
			return nil
		}
		return c
	}},
	"one-at-a-time": {conn: func(_ *broken, c *net.UnixConn) net.Conn {
		b := make([]byte, 16)
		n, err := io.ReadFull(c, b)
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		return &behind{UnixConn: c, first: bytes.NewReader(b[:n])}
	}},

	// What comes on a connection.
	"crash-on-garbage": {conn: firstBytes(func(b []byte) []byte {
		if b[0] == 'G' {
			os.Exit(2) // HTTP/1
		}
		return b
	})},
	"crash-on-large-frame": {conn: watched(func(b []byte) {
		if bytes.Contains(b, []byte{0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1}) {
			os.Exit(2)
		}
	})},
	"crash-on-message": {conn: watched(func(b []byte) {
		if bytes.Contains(b, []byte("\x00\xff\xff\xff\xfffar")) {
			os.Exit(2)
		}
	})},
	"any-preamble-version": {conn: firstBytes(func(b []byte) []byte {
		if len(b) > 10 && b[0] == 0 && b[10] == 9 {
			b[10] = 1
		}
		return b
	})},
	"no-second-preamble": {conn: firstBytes(func(b []byte) []byte {
		if len(b) > 10 && b[0] == 0 && b[10] == 2 {
			b[10] = 9
		}
		return b
	})},
	"greedy-preamble": {conn: func(_ *broken, c *net.UnixConn) net.Conn { return &greedy{UnixConn: c} }},

	// How the plugin knows its host.
	"no-client-certificate": tlsDefect(tlsFault{anyone: true}),
	"any-certificate":       tlsDefect(tlsFault{anyCertificate: true}),
	"wrong-name":            tlsDefect(tlsFault{name: "example.com"}),
	"short-lived":           tlsDefect(tlsFault{short: true}),
	"other-curve":           tlsDefect(tlsFault{p384: true}),
	"one-curve":             tlsDefect(tlsFault{onlyP256: true}),

	// Calls.
	"small-messages": {options: []plugin.Option{plugin.WithMaxMessageSize(4 << 20)}},
	"prints-nothing": {print: func(printer) {}},
	"prints-one":     {print: func(printer) { _, _ = os.Stderr.WriteString("printed\n") }},

	// The end.
	"ends-with-one":   {options: []plugin.Option{plugin.OnShutdown(func(context.Context) error { return errors.New("not today") })}},
	"dies-by-sigterm": {answering: func(*broken) { signal.Reset(syscall.SIGTERM) }},
	"dies-by-sigint":  {conn: func(_ *broken, c *net.UnixConn) net.Conn { signal.Reset(os.Interrupt); return c }},
	"outlives-host":   {options: []plugin.Option{plugin.OutlivesHost()}},
	"ends-with-output": {answering: func(p *broken) {
		go func() { // lives as long as the process
			fds := []unix.PollFd{{Fd: int32(p.out.Fd())}}
			for {
				if n, err := unix.Poll(fds, -1); n > 0 && err == nil {
					os.Exit(0)
				}
			}
		}()
	}},
	"no-lifeline":   {variable: withLifeline(nothing)},
	"slow-lifeline": slowLifeline(),

	// The wire pw/1.
	"no-pw":          {variable: change(offer, func(v string) string { return strings.Replace(v, "wires=pw/1", "wires=h2", 1) })},
	"takes-hello":    {conn: frames(func(f []byte) []byte { return without(f, f[3] == 11) }, nil)},
	"sends-no-hello": {conn: frames(nil, func(f []byte) []byte { return without(f, f[3] == 11) })},
	"no-credit":      {conn: frames(nil, func(f []byte) []byte { return without(f, f[3] == 9) })},
	"skips-cancel": {conn: frames(func(f []byte) []byte {
		if f[3] == 8 {
			f[3] = 12 // not known
		}
		return f
	}, nil)},
	"wrong-status": {conn: frames(nil, func(f []byte) []byte {
		if i := bytes.Index(f, []byte{0x08, 12}); f[3] == 7 && i > 0 { // UNIMPLEMENTED
			f[i+1] = 13
		}
		return f
	})},
	"drops-pieces": {conn: frames(func(f []byte) []byte {
		if f[3] == 5 {
			f[3] = 12
		}
		return f
	}, nil)},
}

// socket is the path of the plugin's socket.
var socket string

func nothing(string) string { return "" }

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func firstOf(list, separator string) string {
	first, _, _ := strings.Cut(list, separator)
	return first
}

// change changes one variable.
func change(variable string, f func(value string) string) func(name, value string) string {
	return func(name, value string) string {
		if name == variable && value != "" {
			return f(value)
		}
		return value
	}
}

// underForeign changes one variable of a foreign host.
func underForeign(variable string, f func(value string) string) func(name, value string) string {
	if os.Getenv(offer) != "" {
		return nil
	}
	return change(variable, f)
}

// withLifeline changes the lifeline in the offer.
func withLifeline(f func(number string) string) func(name, value string) string {
	return change(offer, func(value string) string {
		fields := strings.Split(value, "|")
		fields = slices.DeleteFunc(fields, func(field string) bool { return field == "lifeline=3" })
		if number := f("3"); number != "" {
			fields = append(fields, "lifeline="+number)
		}
		return strings.Join(fields, "|")
	})
}

// slowLifeline watches the lifeline in a goroutine, which does not run in a process that
// is stopped.
func slowLifeline() defect {
	var number string
	return defect{
		begin: func(*broken) {
			if !strings.Contains(os.Getenv(offer), "lifeline=3") {
				return
			}
			var ends [2]int
			must(syscall.Pipe(ends[:]))
			number = strconv.Itoa(ends[0])
			go func() { // until the host dies
				_, _ = io.Copy(io.Discard, os.NewFile(3, "lifeline"))
				_ = syscall.Close(ends[1])
			}()
		},
		variable: func(name, value string) string {
			if number == "" {
				return value
			}
			return withLifeline(func(string) string { return number })(name, value)
		},
	}
}

// foreignLine returns changed if line is an answer to a foreign host.
func foreignLine(line, changed string) string {
	if strings.Contains(line, "instance=") {
		return line
	}
	return changed
}

// withCertificate puts a certificate into the answer.
func withCertificate(line string, der []byte) string {
	fields := strings.Split(line, "|")
	fields[5] = base64.RawStdEncoding.EncodeToString(der)
	return strings.Join(fields, "|")
}
