package chat

import (
	"context"
	"io"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A Participant is one who is in a room. One goroutine may post while another
// takes messages; Finish, Leave and Gone are safe for any.
type Participant struct {
	room    *Room
	arrived chan struct{} // told when there is something new to take
	taken   chan struct{} // told when something has been taken
	gone    chan struct{} // closed when the room has put the participant out

	// Guarded by room.mu.
	name     string // empty until he has joined
	last     int64  // sequence of the message that he took last
	end      int64  // of the last one that he gets; set when he has finished
	finished bool
	left     bool
}

// Join makes the participant one of those who get messages, from the next on. It
// comes before Post and Next.
func (p *Participant) Join(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	p.room.mu.Lock()
	defer p.room.mu.Unlock()
	if p.room.taken(name) {
		return status.Errorf(codes.AlreadyExists, "there is a participant %s already", name)
	}
	p.name, p.last = name, p.room.sequence
	p.room.present = append(p.room.present, p)
	return nil
}

// CheckUser checks the name in a message of one who has joined: his own, or
// none.
func (p *Participant) CheckUser(name string) error {
	p.room.mu.Lock()
	defer p.room.mu.Unlock()
	if name != "" && name != p.name {
		return wrongUser(name, p.name)
	}
	return nil
}

// Post gives the text to all, followed by the assistant's reply to it. It waits
// for the pace of the room, and until the participant himself has taken half of
// what may wait for him. The context also bounds reply.
func (p *Participant) Post(ctx context.Context, text string, reply func(ctx context.Context, text string) string) error {
	if err := checkText(text); err != nil {
		return err
	}
	if err := p.awaitOwn(ctx); err != nil {
		return err
	}
	answer := reply(ctx, text)
	if err := p.room.await(ctx); err != nil {
		return err
	}
	p.room.mu.Lock()
	defer p.room.mu.Unlock()
	switch {
	case p.isGone():
		return ErrTooSlow
	case p.finished:
		return status.Error(codes.FailedPrecondition, "a participant who has left cannot post")
	}
	p.room.post(Message{User: p.name, Text: text}, Message{User: Assistant, Text: answer})
	return nil
}

// awaitOwn waits while much waits for the participant, so that one who talks
// without listening does not put himself out.
func (p *Participant) awaitOwn(ctx context.Context) error {
	for p.waiting() > maxQueue/2 {
		select {
		case <-p.taken:
		case <-p.gone:
			return ErrTooSlow
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		}
	}
	return nil
}

// waiting returns how many messages wait for the participant, who will get more.
func (p *Participant) waiting() int64 {
	p.room.mu.Lock()
	defer p.room.mu.Unlock()
	if p.finished {
		return 0
	}
	return p.room.sequence - p.last
}

// Next returns the next message, and waits for it. It returns io.EOF when the
// participant has finished and has taken all that was posted before.
func (p *Participant) Next(ctx context.Context) (Message, error) {
	for {
		message, err := p.take()
		if err != nil || message.Sequence > 0 {
			return message, err
		}
		select {
		case <-p.arrived:
		case <-p.gone:
		case <-ctx.Done():
			return Message{}, status.FromContextError(ctx.Err()).Err()
		}
	}
}

// take takes a message; it is the zero Message if there is none yet.
func (p *Participant) take() (Message, error) {
	p.room.mu.Lock()
	defer p.room.mu.Unlock()
	switch {
	case p.tookAll():
		return Message{}, io.EOF
	case p.isGone():
		return Message{}, ErrTooSlow
	case p.last == p.room.sequence:
		return Message{}, nil
	}
	p.last++
	tell(p.taken)
	return p.room.log[p.last%maxQueue], nil
}

// tookAll reports whether the participant has taken all that he gets. The caller
// holds room.mu.
func (p *Participant) tookAll() bool { return p.finished && p.last == p.end }

// Gone is closed when the room has put the participant out. Next and Post then
// return [ErrTooSlow].
func (p *Participant) Gone() <-chan struct{} { return p.gone }

func (p *Participant) isGone() bool {
	select {
	case <-p.gone:
		return true
	default:
		return false
	}
}

// Finish gives the name back. What was posted before can still be taken, in the
// same time as by anybody else.
func (p *Participant) Finish() {
	p.room.mu.Lock()
	defer p.room.mu.Unlock()
	p.finish()
}

// finish is Finish for one who holds room.mu.
func (p *Participant) finish() {
	if !p.finished {
		p.finished, p.end = true, p.room.sequence
		tell(p.arrived)
		tell(p.taken)
	}
}

// Leave gives the place back, and the name. Nothing can be taken then.
func (p *Participant) Leave() {
	p.room.mu.Lock()
	defer p.room.mu.Unlock()
	p.finish()
	p.last = p.end
	p.room.present = slices.DeleteFunc(p.room.present, func(other *Participant) bool { return other == p })
	if !p.left {
		p.left = true
		p.room.places--
	}
	tell(p.arrived)
}

// putOut tells the participant that he gets nothing more. His place is his until
// he leaves. The caller holds room.mu.
func (p *Participant) putOut() {
	p.finish()
	close(p.gone)
}

// ErrTooSlow is for a participant whom the room has put out because he did not
// take his messages.
var ErrTooSlow = status.Errorf(codes.ResourceExhausted, "disconnected: more than %d messages were waiting to be read", maxQueue)

// tell tells the one who waits on c, now or later.
func tell(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // he has been told
	}
}
