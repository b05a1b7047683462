package chat

import (
	"context"
	"io"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A Participant is one who is in a room. One goroutine may post while another
// takes messages; Leave and Gone are safe for any.
type Participant struct {
	room    *Room
	arrived chan struct{} // told when there is something new in queue, or left
	gone    chan struct{} // closed when the room has put the participant out

	// Guarded by room.mu.
	name      string    // empty until he has joined
	queue     []Message // to be taken
	left      bool
	fullSince time.Time // when others began to wait for him; zero if they do not
	taken     int       // messages, since then
}

// Join makes the participant one of those who get messages, from the next on.
func (p *Participant) Join(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	p.room.mu.Lock()
	defer p.room.mu.Unlock()
	if p.room.taken(name) {
		return status.Errorf(codes.AlreadyExists, "there is a participant %s already", name)
	}
	p.name = name
	p.room.joined = append(p.room.joined, p)
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
// for those who have much to read, himself included, but for others not for
// long: see patience. The context also bounds reply.
func (p *Participant) Post(ctx context.Context, text string, reply func(ctx context.Context, text string) string) error {
	if err := checkText(text); err != nil {
		return err
	}
	answer := reply(ctx, text)
	for {
		changed, wait, err := p.tryPost(text, answer)
		if err != nil || wait == 0 {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-changed:
		case <-timer.C:
		case <-p.gone:
		case <-ctx.Done():
			err = status.FromContextError(ctx.Err()).Err()
		}
		timer.Stop()
		if err != nil {
			return err
		}
	}
}

func (p *Participant) tryPost(text, answer string) (changed <-chan struct{}, wait time.Duration, err error) {
	p.room.mu.Lock()
	defer p.room.mu.Unlock()
	switch {
	case p.isGone():
		return nil, 0, p.tooSlow()
	case p.left:
		return nil, 0, status.Error(codes.FailedPrecondition, "a participant who has left cannot post")
	}
	wait = p.room.tryPost(p, Message{User: p.name, Text: text}, Message{User: Assistant, Text: answer})
	return p.room.changed, wait, nil
}

// full reports whether the queue has no room for n messages. The caller holds
// room.mu.
func (p *Participant) full(n int) bool { return len(p.queue)+n > p.room.maxQueue }

// patienceLeft returns for how long others wait for this participant, whose
// queue is full. The caller holds room.mu.
func (p *Participant) patienceLeft(now time.Time) time.Duration {
	if p.fullSince.IsZero() || p.taken >= p.room.maxQueue/2 {
		p.fullSince, p.taken = now, 0
	}
	return patience - now.Sub(p.fullSince)
}

// putOut has the participant leave and tells him so. The caller holds room.mu.
func (p *Participant) putOut() {
	p.leave()
	p.queue = nil
	close(p.gone)
}

// Next returns the next message, and waits for it. It returns io.EOF when the
// participant has left and has taken all that was posted before.
func (p *Participant) Next(ctx context.Context) (Message, error) {
	for {
		message, left, ok := p.take()
		switch {
		case ok:
			return message, nil
		case left:
			return Message{}, io.EOF
		}
		select {
		case <-p.arrived:
		case <-p.gone:
			return Message{}, p.tooSlow()
		case <-ctx.Done():
			return Message{}, status.FromContextError(ctx.Err()).Err()
		}
	}
}

// take takes a message from the queue if there is one.
func (p *Participant) take() (message Message, left, ok bool) {
	p.room.mu.Lock()
	defer p.room.mu.Unlock()
	if len(p.queue) == 0 {
		return Message{}, p.left && !p.isGone(), false
	}
	message = p.queue[0]
	p.queue[0] = Message{} // lets go of the text; append reuses or frees the rest
	p.queue = p.queue[1:]
	p.taken++
	if !p.fullSince.IsZero() {
		if len(p.queue) <= p.room.maxQueue/2 {
			p.fullSince = time.Time{}
		}
		p.room.change()
	}
	return message, false, true
}

// Gone is closed when the room has put the participant out because he did not
// take his messages; Next and Post then say so.
func (p *Participant) Gone() <-chan struct{} { return p.gone }

func (p *Participant) isGone() bool {
	select {
	case <-p.gone:
		return true
	default:
		return false
	}
}

// Leave gives the place back. What was posted before can still be taken.
func (p *Participant) Leave() {
	p.room.mu.Lock()
	defer p.room.mu.Unlock()
	p.leave()
	tell(p.arrived)
}

// leave is Leave for one who holds room.mu.
func (p *Participant) leave() {
	if p.left {
		return
	}
	p.left = true
	p.room.places--
	p.room.joined = slices.DeleteFunc(p.room.joined, func(other *Participant) bool { return other == p })
	p.room.change()
}

func (p *Participant) tooSlow() error {
	return status.Errorf(codes.ResourceExhausted, "disconnected: %d messages were waiting to be read, and the others for that", p.room.maxQueue)
}

// tell tells the one who waits on c, now or later.
func tell(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // he has been told
	}
}
