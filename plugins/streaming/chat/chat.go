// Package chat is a room in which every participant gets every message, in the
// same order. Begin with [NewRoom]; each participant enters, joins under a name,
// posts, and takes what was posted with [Participant.Next]. How messages travel
// is not its business; its errors are gRPC statuses.
package chat

import (
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The limits of a room.
const (
	// MaxParticipants is as many as fit into one conversation; what a message
	// costs grows with them.
	MaxParticipants = 64
	// maxQueue is how many messages may wait for a participant: some seconds of a
	// busy room. All queues hold the same messages, so that they need 4 MiB at
	// most.
	maxQueue = 1024
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
	maxParticipants int
	maxQueue        int

	mu       sync.Mutex // guards the fields below and those of participants
	places   int        // taken
	joined   []*Participant
	sequence int64 // of the last message
}

// NewRoom returns an empty room.
func NewRoom() *Room {
	return &Room{maxParticipants: MaxParticipants, maxQueue: maxQueue}
}

// Enter takes a place in the room, if there is one. The caller gives it back with
// [Participant.Leave].
func (r *Room) Enter() (*Participant, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.places == r.maxParticipants {
		return nil, status.Errorf(codes.ResourceExhausted, "the room is full: it has %d places", r.maxParticipants)
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
	names := make([]string, len(r.joined))
	for i, p := range r.joined {
		names[i] = p.name
	}
	return names
}

// post gives messages to all, with nothing in between. The caller holds r.mu.
func (r *Room) post(messages ...Message) {
	now := time.Now()
	for i := range messages {
		r.sequence++
		messages[i].Sequence, messages[i].Time = r.sequence, now
	}
	for _, p := range slices.Clone(r.joined) {
		p.deliver(messages)
	}
}

// taken reports whether somebody has that name. The caller holds r.mu.
func (r *Room) taken(name string) bool {
	return slices.ContainsFunc(r.joined, func(p *Participant) bool { return strings.EqualFold(p.name, name) })
}
