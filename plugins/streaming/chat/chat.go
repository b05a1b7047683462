// Package chat is a room in which every participant gets every message, in the
// same order. Begin with [NewRoom]; each participant enters, joins under a name,
// posts, and reads messages with [Participant.Next]. The package does not know
// how messages travel; its errors are gRPC statuses.
//
// No participant waits for another. A post waits for the pace of the room. A
// participant that does not read its messages is disconnected.
package chat

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// These are the limits of a room.
const (
	// MaxParticipants is how many participants fit into one conversation. The
	// cost of a message grows with their number.
	MaxParticipants = 64
	// maxQueue is how many messages may wait for a participant: four seconds at the
	// room's pace. A process that reads is scheduled sooner, even on a busy
	// machine. All queues are the ends of one log, whose texts have MaxText bytes
	// each: 16 MiB at most, however many participants there are.
	maxQueue = 4096
	// pace is how many messages a room accepts in a second: far more than
	// people write, and so few that a full room keeps up, which needs a quarter
	// of a processor.
	pace = 1000
	// burst is how many more it accepts after a pause, so that a pasted page is
	// posted at once. It is a small part of a queue.
	burst = 500
	// perPost is how many messages a post makes: a message and its reply.
	perPost = 2
)

// A Message is a posted message.
type Message struct {
	User     string
	Text     string
	Time     time.Time
	Sequence int64 // consecutive
}

// A Room has participants and the messages between them. Its methods are safe
// for concurrent use.
type Room struct {
	limiter *rate.Limiter
	turn    chan struct{} // held by the participant that waits for limiter

	mu       sync.Mutex // guards the fields below and those of participants
	places   int        // occupied places
	present  []*Participant
	sequence int64     // number of the last message
	log      []Message // last messages, each at its sequence modulo maxQueue
}

// NewRoom returns an empty room.
func NewRoom() *Room {
	return &Room{
		limiter: rate.NewLimiter(pace, burst),
		turn:    make(chan struct{}, 1),
		log:     make([]Message, maxQueue),
	}
}

// Enter takes a place in the room, if there is one. The caller gives it back with
// [Participant.Leave].
func (r *Room) Enter() (*Participant, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.places == MaxParticipants {
		return nil, status.Errorf(codes.ResourceExhausted, "the room is full: it has %d places", MaxParticipants)
	}
	r.places++
	return &Participant{
		room:    r,
		arrived: make(chan struct{}, 1),
		taken:   make(chan struct{}, 1),
		gone:    make(chan struct{}),
	}, nil
}

// Names returns the names of the participants that have joined, in the order of
// joining.
func (r *Room) Names() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for _, p := range r.present {
		if !p.finished {
			names = append(names, p.name)
		}
	}
	return names
}

// await waits until the room accepts a post. Waiting participants post one after
// the other, so that others wait for only one post of a participant that posts
// much. There is only one reservation at a time, so a cancelled one leaves no
// gap.
func (r *Room) await(ctx context.Context) error {
	select {
	case r.turn <- struct{}{}:
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
	defer func() { <-r.turn }()
	if err := r.limiter.WaitN(ctx, perPost); err != nil {
		if ctx.Err() == nil { // the context would end before
			return status.FromContextError(context.DeadlineExceeded).Err()
		}
		return status.FromContextError(ctx.Err()).Err()
	}
	return nil
}

// post adds messages for all participants, with no other message in between. A
// participant without room for them is disconnected. The caller holds r.mu.
func (r *Room) post(messages ...Message) {
	now := time.Now()
	for _, message := range messages {
		r.sequence++
		message.Sequence, message.Time = r.sequence, now
		r.log[r.sequence%maxQueue] = message
	}
	r.present = slices.DeleteFunc(r.present, func(p *Participant) bool {
		if p.tookAll() || r.sequence-p.last <= maxQueue {
			tell(p.arrived)
			return false
		}
		p.putOut()
		return true
	})
}

// taken reports whether a participant has that name. The caller holds r.mu.
func (r *Room) taken(name string) bool {
	return slices.ContainsFunc(r.present, func(p *Participant) bool { return !p.finished && strings.EqualFold(p.name, name) })
}
