package differential

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	// seeds is how many random programs run as a test.
	seeds = 150
	// choices is how many choices such a program has.
	choices = 200
	// maxRandomSteps bounds a random program.
	maxRandomSteps = 80
)

// FuzzPrograms makes programs from choices, and compares all columns. A difference is shrunk:
// the message has the program for a file in testdata.
func FuzzPrograms(f *testing.F) {
	for seed := range uint64(seeds) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		data := make([]byte, choices)
		for i := range data {
			data[i] = byte(rnd.Uint32())
		}
		f.Add(data)
	}
	columns := startAll(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		p := generate(data)
		found := differencesOf(p, columns, hang)
		if len(found) == 0 {
			return
		}
		p = shrink(p, func(q program) bool {
			differences := differencesOf(q, columns, hangShrinking)
			if len(differences) > 0 {
				found = differences
			}
			return len(differences) > 0
		})
		t.Errorf("%s\n%s", p, strings.Join(found, "\n"))
	})
}

// chooser makes choices from bytes, until there are none left.
type chooser struct{ data []byte }

func (c *chooser) pick(n int) int {
	if len(c.data) == 0 {
		return 0
	}
	b := c.data[0]
	c.data = c.data[1:]
	return int(b) % n
}

func choose[T any](c *chooser, list ...T) T { return list[c.pick(len(list))] }

// generate returns the program of some choices.
func generate(data []byte) program {
	c := &chooser{data}
	var m model
	var p program
	for len(c.data) > 0 && len(p) < maxRandomSteps {
		var possible []step
		for call := range maxCalls {
			for _, s := range operations {
				s.call = call
				if m.allows(s) {
					possible = append(possible, s)
				}
			}
		}
		if len(possible) == 0 {
			break
		}
		s := c.arguments(choose(c, possible...))
		if m.allows(s) {
			m.apply(s)
			p = append(p, s)
		}
	}
	return repair(p)
}

// operations are all operations. Frequent ones are there several times.
var operations = []step{
	{side: 'c', op: "open"},
	{side: 'c', op: "open"},
	{side: 'c', op: "invoke", goOn: true},
	{side: 'c', op: "send"},
	{side: 'c', op: "send"},
	{side: 'c', op: "send"},
	{side: 'c', op: "half"},
	{side: 'c', op: "recv"},
	{side: 'c', op: "recv"},
	{side: 'c', op: "recv"},
	{side: 'c', op: "drain"},
	{side: 'c', op: "join"},
	{side: 'c', op: "header"},
	{side: 'c', op: "trailer"},
	{side: 'c', op: "cancel"},
	{side: 's', op: "recv"},
	{side: 's', op: "recv"},
	{side: 's', op: "recv"},
	{side: 's', op: "send"},
	{side: 's', op: "send"},
	{side: 's', op: "send"},
	{side: 's', op: "setheader"},
	{side: 's', op: "sendheader"},
	{side: 's', op: "settrailer"},
	{side: 's', op: "ctx"},
	{side: 's', op: "done"},
	{side: 's', op: "join"},
	{side: 's', op: "reply"},
	{side: 's', op: "return", args: []arg{{"code", "1"}}},
	{side: 's', op: "panic"},
	{side: 's', op: "goexit"},
}

// arguments returns a step with arguments.
func (c *chooser) arguments(s step) step {
	switch s.op {
	case "open":
		s.args = append(c.options(s.call), arg{"kind", choose(c, "bidi", "bidi", "server", "client", "unary")})
	case "invoke":
		s.args = append(c.options(s.call), arg{name: c.size()}, arg{name: "capture"})
	case "send":
		s.args = []arg{{name: c.size()}}
		s.goOn = s.number() > maxUnread
	case "reply":
		s.args = []arg{{name: c.size()}}
	case "setheader", "sendheader", "settrailer":
		s.args = c.metadata()
		if c.pick(3) == 0 {
			s.args = append(s.args, arg{name: "byctx"})
		}
	case "return":
		s.args = c.status()
	}
	return s
}

// size returns the size of a message, up to the limit.
func (c *chooser) size() string {
	return choose(c, "0", "1", "2", "100", "1000", "16379", "16384", "20000", "65536", strconv.Itoa(maxMessage-4))
}

func (c *chooser) metadata() (args []arg) {
	for range c.pick(4) {
		key := choose(c, "a", "a", "b-bin", "long.key_with-all", "c")
		value := choose(c, "", "1", "with+spaces", "+around+", "a,b", strings.Repeat("long", 300), "~")
		if strings.HasSuffix(key, "-bin") {
			value = choose(c, "", "%00", "%FF%FE%00x", "text", strings.Repeat("%80", 500))
		}
		args = append(args, arg{"md", key + ":" + value})
	}
	return args
}

func (c *chooser) options(call int) []arg {
	args := c.metadata()
	for range c.pick(3) {
		one := choose(c, arg{name: "gzip"}, arg{name: "codec"}, arg{name: "peer"}, arg{name: "onfinish"},
			arg{name: "wait"}, arg{name: "static"}, arg{"timeout", "1h"}, arg{"creds", "token:secret"}, arg{"subtype", reversedName})
		if !slices.ContainsFunc(args, func(a arg) bool { return a.name == one.name }) {
			args = append(args, one)
		}
	}
	if call > 0 && c.pick(2) == 0 { // a handler calls
		args = append(args, arg{"via", strconv.Itoa(c.pick(call))})
	}
	return args
}

func (c *chooser) status() []arg {
	if c.pick(3) == 0 {
		return []arg{{"err", choose(c, "plain", "canceled", "deadline", "eof")}, {"code", "1"}}
	}
	args := []arg{{"code", strconv.Itoa(c.pick(19))}, {"msg", choose(c, "", "text", "%E4%B8%AD+%25", "%0A%00", "%FF", "a:b")}}
	if c.pick(3) == 0 {
		args = append(args, arg{"detail", "d"})
	}
	return args
}

// shrink returns the smallest program that it finds for which fails is true.
func shrink(p program, fails func(program) bool) program {
	for {
		q := withoutSteps(withoutArguments(p, fails), fails)
		if q.String() == p.String() {
			return p
		}
		p = q
	}
}

// withoutSteps leaves out steps, many at once and then fewer.
func withoutSteps(p program, fails func(program) bool) program {
	for size := max(len(p)/2, 1); size > 0; size /= 2 {
		for at := 0; at+size <= len(p); {
			q := repair(slices.Delete(slices.Clone(p), at, at+size))
			if len(q) > 0 && len(q) < len(p) && fails(q) {
				p = q
			} else {
				at++
			}
		}
	}
	return p
}

// withoutArguments leaves out arguments that a step can be without.
func withoutArguments(p program, fails func(program) bool) program {
	for i := range p {
		for at := 0; at < len(p[i].args); {
			q := slices.Clone(p)
			q[i].args = slices.Delete(slices.Clone(q[i].args), at, at+1)
			q[i].goOn = q[i].op == "invoke" || q[i].op == "send" && q[i].number() > maxUnread
			if repair(q).String() == q.String() && fails(q) {
				p = q
			} else {
				at++
			}
		}
	}
	return p
}

// A program that fails because of some of its steps is shrunk to these.
func TestShrink(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 0))
	shrunk := 0
	for range 200 {
		data := make([]byte, choices)
		for i := range data {
			data[i] = byte(rnd.Uint32())
		}
		p := generate(data)
		fails := func(q program) bool {
			return slices.ContainsFunc(q, func(s step) bool { return s.op == "sendheader" && len(s.args) > 0 })
		}
		if !fails(p) {
			continue
		}
		shrunk++
		if q := shrink(p, fails); !fails(q) || len(q) > 7 { // open, a large send that is received and joined, sendheader, return, drain
			t.Errorf("shrunk to %d steps:\n%s", len(q), q)
		}
	}
	if shrunk == 0 {
		t.Error("no program was shrunk")
	}
}

// A random program survives its text: the text in a message can go into a file.
func TestText(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(2, 0))
	for range 200 {
		data := make([]byte, choices)
		for i := range data {
			data[i] = byte(rnd.Uint32())
		}
		p := generate(data)
		parsed, err := parsePrograms("== name\n" + p.String())
		if err != nil || len(parsed) != 1 || parsed[0].steps.String() != p.String() {
			t.Fatalf("%v:\n%s", err, p)
		}
		if repaired := repair(p); repaired.String() != p.String() {
			t.Fatalf("the model does not allow\n%s\nbut\n%s", p, repaired)
		}
	}
}
