package differential

import "slices"

// model knows which step may come next, so that a random program has one outcome and never
// hangs. It knows less than gRPC: it forbids each step whose result depends on which message
// arrives first.
type model struct {
	calls [maxCalls]callModel
	// big is the step of a message that is larger than the windows. The other side must
	// receive it next. Then the sender must join: its SendMsg returns, and tells the stats
	// handlers, after the message has arrived, and a cancellation could come before that.
	big      step
	received bool // the message of big was received
}

// maxCalls is how many calls a random program may have.
const maxCalls = 3

// maxUnread is how many bytes may wait for a reader. It is less than any window.
const maxUnread = 32 << 10

// callModel is what is known of a call.
type callModel struct {
	kind   string // "invoke" for a unary call without a stream; empty before the call
	back   bool   // a handler makes the call
	began  bool   // the handler has done a step
	half   bool   // the caller has ended its sending
	halves int    // how often it has said so
	sent   int    // messages that the caller has sent
	told   int    // messages that the handler has sent
	header bool   // the handler has sent the header
	seen   bool   // the caller has it
	eof    bool   // the handler has seen the end of the messages

	unread     []int // sizes of messages that the handler has not received
	unreadBack []int // sizes of messages that the caller has not received

	cancelled bool
	done      bool // the handler knows that
	returned  bool
	known     bool // the caller knows the end
	after     int  // steps of the caller after that
}

// maxAfter is how many steps of a caller come after the end of its call.
const maxAfter = 3

// maxHalves is how often a caller ends its sending before the end of the call.
const maxHalves = 2

func (c *callModel) oneRequest() bool {
	return c.kind == "unary" || c.kind == "server" || c.kind == "invoke"
}

func (c *callModel) manyReplies() bool { return c.kind == "server" || c.kind == "bidi" }

// allows reports whether a step may come next.
func (m *model) allows(s step) bool {
	if s.call >= maxCalls {
		return false
	}
	if m.received {
		return s.call == m.big.call && s.side == m.big.side && s.op == "join"
	}
	if m.big.op != "" {
		return s.call == m.big.call && s.side != m.big.side && s.op == "recv"
	}
	c := &m.calls[s.call]
	if s.op == "open" || s.op == "invoke" {
		if !s.has("via") {
			return c.kind == ""
		}
		via := s.int("via", 0)
		if via >= maxCalls || via == s.call {
			return false
		}
		parent := &m.calls[via]
		return c.kind == "" && !parent.back && parent.began && !parent.returned && !parent.cancelled
	}
	if c.kind == "" {
		return false
	}
	if s.side == 'c' {
		return c.allowsCaller(s)
	}
	return c.allowsHandler(s)
}

func (c *callModel) allowsCaller(s step) bool {
	if c.known && c.after == maxAfter {
		return false
	}
	if c.kind == "invoke" {
		switch s.op {
		case "join":
			return !c.known && (c.returned || c.cancelled)
		case "cancel":
			return c.allowsCancel()
		default:
			return false
		}
	}
	over := c.returned || c.cancelled
	switch s.op {
	case "send":
		if over {
			return c.known && s.number() <= maxUnread
		}
		if c.half || c.oneRequest() && c.sent > 0 {
			return false
		}
		return c.fits(c.unread, s)
	case "half":
		if over {
			return c.known
		}
		return c.halves < maxHalves && (!c.oneRequest() || c.sent > 0)
	case "recv":
		if c.known {
			return true
		}
		return over || c.manyReplies() && len(c.unreadBack) > 0
	case "drain":
		return over && !c.known
	case "header":
		return c.header && !c.cancelled || c.returned && !c.cancelled || c.known
	case "trailer":
		return c.known
	case "cancel":
		return c.allowsCancel()
	default:
		return false
	}
}

// fits reports whether a message fits into the windows. A big one must be the only one.
func (c *callModel) fits(unread []int, s step) bool {
	if s.number() > maxUnread {
		return s.goOn && len(unread) == 0
	}
	total := s.number()
	for _, n := range unread {
		total += n
	}
	return total <= maxUnread
}

// allowsCancel reports whether each side has all that the other has sent. A cancellation
// overtakes messages, or not.
func (c *callModel) allowsCancel() bool {
	return c.began && !c.returned && !c.cancelled && len(c.unread) == 0 && len(c.unreadBack) == 0 && (c.seen || !c.header) && (c.eof || !c.half || c.oneRequest())
}

func (c *callModel) allowsHandler(s step) bool {
	if c.returned || c.kind == "unary" && c.sent == 0 {
		return false
	}
	unary := c.kind == "unary" || c.kind == "invoke"
	if c.cancelled && !c.done {
		return s.op == "done"
	}
	switch s.op {
	case "recv":
		return unary || len(c.unread) > 0 || c.kind != "server" && (c.half || c.done)
	case "send":
		if unary || c.kind == "client" && c.told > 0 {
			return false
		}
		if c.done || c.kind == "client" { // whose caller receives at the end
			return s.number() <= maxUnread
		}
		return c.fits(c.unreadBack, s)
	case "setheader", "settrailer", "ctx":
		return true
	case "sendheader":
		return true
	case "reply":
		return unary
	case "return":
		// A client stream without an answer is an error of its own, which ends the call here.
		return c.kind != "client" || c.told == 1 || s.int("code", 0) != 0
	case "panic", "goexit":
		return !c.cancelled
	default:
		return false
	}
}

// apply changes the model by a step that it allows.
func (m *model) apply(s step) {
	if m.received { // s is the join
		m.big, m.received = step{}, false
		return
	}
	m.received = m.big.op != ""
	c := &m.calls[s.call]
	if c.known && s.side == 'c' {
		c.after++
	}
	if s.side == 's' {
		c.began = true
	}
	switch {
	case s.op == "open":
		c.kind, c.back = s.text("kind"), s.has("via")
	case s.op == "invoke":
		c.kind, c.back = "invoke", s.has("via")
	case s.op == "send" && s.side == 'c':
		if c.returned || c.cancelled {
			return
		}
		c.sent++
		c.half = c.half || c.oneRequest()
		if c.kind != "unary" {
			c.unread = append(c.unread, s.number())
		}
		if s.number() > maxUnread {
			m.big = s
		}
	case s.op == "send":
		c.told++
		if c.done {
			return
		}
		c.header = true
		c.unreadBack = append(c.unreadBack, s.number())
		if s.number() > maxUnread {
			m.big = s
		}
	case s.op == "half":
		c.half = true
		c.halves++
	case s.op == "recv" && s.side == 's':
		if len(c.unread) > 0 {
			c.unread = c.unread[1:]
		} else {
			c.eof = true
		}
	case s.op == "recv" && len(c.unreadBack) > 0 && c.manyReplies():
		c.unreadBack, c.seen = c.unreadBack[1:], true
	case s.op == "recv", s.op == "drain", s.op == "join":
		c.known, c.unreadBack = true, nil
	case s.op == "header":
		c.seen = true
	case s.op == "sendheader":
		c.header = c.header || !c.done
	case s.op == "cancel":
		c.cancelled = true
	case s.op == "done":
		c.done = true
	case slices.Contains([]string{"return", "reply", "panic", "goexit"}, s.op):
		c.returned = true
	}
}

// repair returns the steps that a model allows, and those that end all calls.
func repair(p program) program {
	var m model
	var out program
	add := func(s step) {
		if m.allows(s) {
			m.apply(s)
			out = append(out, s)
		}
	}
	for _, s := range p {
		add(s)
	}
	if m.big.op != "" {
		other := 'c' + 's' - m.big.side
		add(step{call: m.big.call, side: other, op: "recv"})
		add(step{call: m.big.call, side: m.big.side, op: "join"})
	}
	for i := range m.calls {
		c := &m.calls[i]
		if c.kind == "" {
			continue
		}
		if !c.returned {
			if c.kind == "unary" && c.sent == 0 {
				add(step{call: i, side: 'c', op: "send"})
			}
			add(step{call: i, side: 's', op: "done"})
			add(step{call: i, side: 's', op: "return", args: []arg{{"code", "10"}}})
		}
		if !c.known {
			add(step{call: i, side: 'c', op: "join"})
			add(step{call: i, side: 'c', op: "drain"})
		}
	}
	return out
}
