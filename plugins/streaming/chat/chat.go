// Package chat is a room in which every participant gets every message, in the
// same order. Begin with [NewRoom]; each participant enters, joins under a name,
// posts, and takes what was posted with [Participant.Next]. How messages travel
// is not its business; its errors are gRPC statuses.
//
// Nobody waits for another participant. The room has a pace of its own, which who
// posts waits for; who does not take his messages is put out.
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

// The limits of a room.
const (
	// MaxParticipants is as many as fit into one conversation; what a message
	// costs grows with them.
	MaxParticipants = 64
	// maxQueue is how many messages may wait for a participant to take them: four
	// seconds of the room's pace, longer than a busy machine lets a process that
	// reads wait for its turn. All queues are the ends of one log, whose texts
	// have MaxText bytes each: 16 MiB at most, however many participants there are.
	maxQueue = 4096
	// pace is how many messages a room takes in a second: far more than people
	// write, and few enough for a full room of participants to keep up, which
	// takes a quarter of a processor.
	pace = 1000
	// burst is how many more it takes after a pause, so that a page that is pasted
	// is there at once. It is a small part of a queue.
	burst = 500
	// perPost is what a post takes of these: a message and the reply to it.
	perPost = 2
)

// A Message is one that was posted.
type Message struct {
	User     string
	Text     string
	Time     time.Time
	Sequence int64 // consecutive
}

// A Room is the place where participants meet. Its methods are safe for
// concurrent use.
type Room struct {
	limiter *rate.Limiter
	turn    chan struct{} // held by the one who waits for limiter

	mu       sync.Mutex // guards the fields below and those of participants
	places   int        // taken
	present  []*Participant
	sequence int64     // of the last message
	log      []Message // the last ones, each at its sequence modulo maxQueue
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

// Names returns the names of those who have joined, in the order in which they
// did.
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

// await waits until the room takes a post. Those who wait take turns, so that who
// posts much has the others wait for one post of his and not for all. With one
// reservation at a time, one that is given up leaves no gap.
func (r *Room) await(ctx context.Context) error {
	select {
	case r.turn <- struct{}{}:
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
	defer func() { <-r.turn }()
	if err := r.limiter.WaitN(ctx, perPost); err != nil {
		if ctx.Err() == nil { // it would be over before
			return status.FromContextError(context.DeadlineExceeded).Err()
		}
		return status.FromContextError(ctx.Err()).Err()
	}
	return nil
}

// post gives messages to all, with nothing in between. Who has no room for them
// is put out. The caller holds r.mu.
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

// taken reports whether somebody has that name. The caller holds r.mu.
func (r *Room) taken(name string) bool {
	return slices.ContainsFunc(r.present, func(p *Participant) bool { return !p.finished && strings.EqualFold(p.name, name) })
}
