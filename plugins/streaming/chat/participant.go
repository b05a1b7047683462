package chat

import (
	"context"
	"io"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A Participant is a participant of a room. One goroutine may post while
// another reads messages. Finish, Leave and Gone are safe for concurrent use.
type Participant struct {
	room    *Room
	arrived chan struct{} // gets a value when there is a new message
	taken   chan struct{} // gets a value when a message was read
	gone    chan struct{} // closed when the room has disconnected the participant

	// room.mu guards the fields below.
	name     string // empty before Join
	last     int64  // sequence of the last message that was read
	end      int64  // sequence of the last message to read; set by Finish
	finished bool
	left     bool
}

// Join makes the participant get messages, from the next on. Call it before Post
// and Next.
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

// CheckUser checks the name in a message of a participant that has joined: its
// own, or none.
func (p *Participant) CheckUser(name string) error {
	p.room.mu.Lock()
	defer p.room.mu.Unlock()
	if name != "" && name != p.name {
		return wrongUser(name, p.name)
	}
	return nil
}

// Post sends the text to all participants, followed by the assistant's reply.
// It waits for the pace of the room, and until at most half of the allowed
// messages wait for the participant itself. The context also bounds reply.
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
		return status.Error(codes.FailedPrecondition, "a participant that has left cannot post")
	}
	p.room.post(Message{User: p.name, Text: text}, Message{User: Assistant, Text: answer})
	return nil
}

// awaitOwn waits while many messages wait for the participant. So a participant
// that posts without reading does not disconnect itself.
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

// waiting returns how many messages wait for a participant that has not
// finished.
func (p *Participant) waiting() int64 {
	p.room.mu.Lock()
	defer p.room.mu.Unlock()
	if p.finished {
		return 0
	}
	return p.room.sequence - p.last
}

// Next returns the next message, and waits for it. It returns io.EOF when the
// participant has finished and has read all messages from before.
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

// take returns the next message, or the zero Message if there is none yet.
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

// tookAll reports whether a finished participant has read all its messages. The
// caller holds room.mu.
func (p *Participant) tookAll() bool { return p.finished && p.last == p.end }

// Gone is closed when the room has disconnected the participant. Next and Post
// then return [ErrTooSlow].
func (p *Participant) Gone() <-chan struct{} { return p.gone }

func (p *Participant) isGone() bool {
	select {
	case <-p.gone:
		return true
	default:
		return false
	}
}

// Finish releases the name. Earlier messages can still be read, within the
// limits for any participant.
func (p *Participant) Finish() {
	p.room.mu.Lock()
	defer p.room.mu.Unlock()
	p.finish()
}

// finish is Finish for a caller that holds room.mu.
func (p *Participant) finish() {
	if !p.finished {
		p.finished, p.end = true, p.room.sequence
		tell(p.arrived)
		tell(p.taken)
	}
}

// Leave releases the place and the name. Nothing can be read afterwards.
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

// putOut disconnects the participant, which gets no more messages. It keeps its
// place until Leave. The caller holds room.mu.
func (p *Participant) putOut() {
	p.finish()
	close(p.gone)
}

// ErrTooSlow is the error for a participant that the room has disconnected
// because it did not read its messages.
var ErrTooSlow = status.Errorf(codes.ResourceExhausted, "disconnected: more than %d messages were waiting to be read", maxQueue)

// tell wakes the goroutine that waits on c, now or later.
func tell(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // a value is waiting already
	}
}
