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
	// maxQueue is how many messages may wait for a participant: more than a
	// screenful or a pause of the scheduler. All queues hold the same messages, so
	// that they need 4 MiB at most.
	maxQueue = 1024
	// patience is how long the others wait for one whose queue is full: longer
	// than a busy machine lets a process that reads wait for its turn. To stay he
	// has to take half a queue in this time.
	patience = time.Second
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
	sequence int64         // of the last message
	changed  chan struct{} // closed, and replaced, when a queue is not full any more
}

// NewRoom returns an empty room.
func NewRoom() *Room {
	return &Room{maxParticipants: MaxParticipants, maxQueue: maxQueue, changed: make(chan struct{})}
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

// tryPost gives messages to all, with nothing in between, if all queues have
// room for them. If not it returns how long to wait, unless changed is closed
// before. Who has had the others wait for too long is put out; who posts cannot
// be by that. The caller holds r.mu.
func (r *Room) tryPost(poster *Participant, messages ...Message) (wait time.Duration) {
	now := time.Now()
	for _, p := range slices.Clone(r.joined) {
		if !p.full(len(messages)) {
			continue
		}
		if left := p.patienceLeft(now); p == poster || left > 0 {
			wait = max(wait, left, time.Millisecond)
		} else {
			p.putOut()
		}
	}
	if wait > 0 {
		return wait
	}
	for i := range messages {
		r.sequence++
		messages[i].Sequence, messages[i].Time = r.sequence, now
	}
	for _, p := range r.joined {
		p.queue = append(p.queue, messages...)
		tell(p.arrived)
	}
	return 0
}

// change has those look again who wait to post. The caller holds r.mu.
func (r *Room) change() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// taken reports whether somebody has that name. The caller holds r.mu.
func (r *Room) taken(name string) bool {
	return slices.ContainsFunc(r.joined, func(p *Participant) bool { return strings.EqualFold(p.name, name) })
}
