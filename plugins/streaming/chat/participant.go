package chat

import (
	"context"
	"io"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A Participant is one who is in a room. One goroutine may post while another
// takes messages; Leave and Gone are safe for any.
type Participant struct {
	room    *Room
	arrived chan struct{} // told when there is something new in queue, or left
	taken   chan struct{} // told when something was taken from queue
	gone    chan struct{} // closed when the room has put the participant out

	// Guarded by room.mu.
	name  string    // empty until he has joined
	queue []Message // to be taken
	left  bool
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
// as long as the participant himself has half of what he may have to read, so
// that he is not put out for what he says. The context also bounds reply.
func (p *Participant) Post(ctx context.Context, text string, reply func(ctx context.Context, text string) string) error {
	if err := checkText(text); err != nil {
		return err
	}
	answer := reply(ctx, text)
	for !p.tryPost(text, answer) {
		select {
		case <-p.taken:
		case <-p.gone:
			return p.tooSlow()
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		}
	}
	return nil
}

func (p *Participant) tryPost(text, answer string) bool {
	p.room.mu.Lock()
	defer p.room.mu.Unlock()
	if p.left || len(p.queue) > p.room.maxQueue/2 {
		return false
	}
	p.room.post(Message{User: p.name, Text: text}, Message{User: Assistant, Text: answer})
	return true
}

// deliver puts messages into the queue, or puts the participant out if it has no
// room for them. The caller holds room.mu.
func (p *Participant) deliver(messages []Message) {
	if len(p.queue)+len(messages) > p.room.maxQueue {
		p.leave()
		p.queue = nil
		close(p.gone)
		return
	}
	p.queue = append(p.queue, messages...)
	tell(p.arrived)
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
	tell(p.taken)
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
}

func (p *Participant) tooSlow() error {
	return status.Errorf(codes.ResourceExhausted, "disconnected: %d messages were waiting to be read, so that others would have had to wait", p.room.maxQueue)
}

// tell tells the one who waits on c, now or later.
func tell(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // he has been told
	}
}
