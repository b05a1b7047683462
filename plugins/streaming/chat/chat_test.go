package chat_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/plugins/streaming/chat"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func upper(_ context.Context, text string) string { return strings.ToUpper(text) }

func enter(t *testing.T, room *chat.Room, name string) *chat.Participant {
	t.Helper()
	p, err := room.Enter()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Leave)
	if err := p.Join(name); err != nil {
		t.Fatal(err)
	}
	return p
}

func post(t *testing.T, p *chat.Participant, text string) {
	t.Helper()
	if err := p.Post(t.Context(), text, upper); err != nil {
		t.Fatal(err)
	}
}

// rest returns the messages that a finished participant can still read.
func rest(t *testing.T, p *chat.Participant) []chat.Message {
	t.Helper()
	var messages []chat.Message
	for {
		m, err := p.Next(t.Context())
		if errors.Is(err, io.EOF) {
			return messages
		}
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, m)
	}
}

// talk posts n texts and reads the messages.
func talk(t *testing.T, p *chat.Participant, posts int) {
	t.Helper()
	for range posts {
		post(t, p, "x")
		for range 2 {
			if _, err := p.Next(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func isGone(p *chat.Participant) bool {
	select {
	case <-p.Gone():
		return true
	default:
		return false
	}
}

func wantCode(t *testing.T, err error, want codes.Code) {
	t.Helper()
	if status.Code(err) != want {
		t.Errorf("error %v, want %v", err, want)
	}
}

func TestRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := chat.NewRoom()
		alice := enter(t, room, "alice")
		post(t, alice, "one")
		bob := enter(t, room, "Bob")
		if diff := cmp.Diff([]string{"alice", "Bob"}, room.Names()); diff != "" {
			t.Errorf("names (-want +got):\n%s", diff)
		}
		time.Sleep(time.Minute)
		post(t, bob, "two")
		bob.Finish()
		bob.Finish()
		post(t, alice, "three")
		alice.Finish()
		if names := room.Names(); len(names) != 0 {
			t.Errorf("%v are there", names)
		}
		now := time.Now()
		then := now.Add(-time.Minute)
		want := []chat.Message{
			{"alice", "one", then, 1},
			{chat.Assistant, "ONE", then, 2},
			{"Bob", "two", now, 3},
			{chat.Assistant, "TWO", now, 4},
			{"alice", "three", now, 5},
			{chat.Assistant, "THREE", now, 6},
		}
		if diff := cmp.Diff(want, rest(t, alice)); diff != "" {
			t.Errorf("alice got (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(want[2:4], rest(t, bob)); diff != "" {
			t.Errorf("Bob got (-want +got):\n%s", diff)
		}
	})
}

// All participants get the same messages in the same order, with the reply
// right after each message.
func TestOrder(t *testing.T) {
	const people, messages = 10, 300
	got := make([][]chat.Message, people)
	synctest.Test(t, func(t *testing.T) {
		room := chat.NewRoom()
		var said, heard sync.WaitGroup
		all := make([]*chat.Participant, people)
		for i := range all {
			all[i] = enter(t, room, fmt.Sprint("p", i))
		}
		for i, p := range all {
			heard.Go(func() {
				for range people * messages * 2 {
					m, err := p.Next(t.Context())
					if err != nil {
						t.Error(err)
						return
					}
					got[i] = append(got[i], m)
				}
			})
			said.Go(func() {
				for n := range messages {
					if err := p.Post(t.Context(), fmt.Sprintf("p%d says %d", i, n), upper); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		said.Wait()
		heard.Wait()
	})
	if t.Failed() {
		return
	}
	last := map[string]int{}
	for i, m := range got[0] {
		if m.Sequence != int64(i+1) {
			t.Fatalf("message %d has number %d", i, m.Sequence)
		}
		if i%2 == 1 {
			if before := got[0][i-1]; m.User != chat.Assistant || m.Text != strings.ToUpper(before.Text) {
				t.Fatalf("%q follows %q", m.Text, before.Text)
			}
			continue
		}
		if want := fmt.Sprintf("%s says %d", m.User, last[m.User]); m.Text != want {
			t.Fatalf("%q, want %q", m.Text, want)
		}
		last[m.User]++
	}
	for i := range got {
		if !slices.Equal(got[0], got[i]) {
			t.Fatalf("p0 and p%d got different things:\n%s", i, cmp.Diff(got[0], got[i]))
		}
	}
}

// A participant that does not read is disconnected, and does not slow the
// others down.
func TestSlowParticipant(t *testing.T) {
	const messages = 5000
	synctest.Test(t, func(t *testing.T) {
		room := chat.NewRoom()
		began := time.Now()
		talk(t, enter(t, room, "quick"), messages)
		alone := time.Since(began)
		if want := (2*messages - 500) * time.Millisecond; alone < want-time.Millisecond || alone > want+time.Millisecond {
			t.Errorf("%d posts took %v, want %v", messages, alone, want)
		}

		room = chat.NewRoom()
		slow, quick := enter(t, room, "slow"), enter(t, room, "quick")
		began = time.Now()
		talk(t, quick, messages)
		if took := time.Since(began); took != alone {
			t.Errorf("with a slow participant it took %v, without %v", took, alone)
		}
		if !isGone(slow) {
			t.Fatal("the slow participant is still connected")
		}
		if diff := cmp.Diff([]string{"quick"}, room.Names()); diff != "" {
			t.Errorf("names (-want +got):\n%s", diff)
		}
		_, err := slow.Next(t.Context())
		wantCode(t, err, codes.ResourceExhausted)
		wantCode(t, slow.Post(t.Context(), "x", upper), codes.ResourceExhausted)
		slow.Leave()
		if slow, err := room.Enter(); err != nil {
			t.Error(err)
		} else if err := slow.Join("slow"); err != nil {
			t.Errorf("it cannot come back: %v", err)
		}
	})
}

// A queue holds exactly 4096 messages.
func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := chat.NewRoom()
		slow, slower, left, quick := enter(t, room, "slow"), enter(t, room, "slower"), enter(t, room, "left"), enter(t, room, "quick")
		talk(t, quick, 1)
		left.Finish()
		talk(t, quick, 2047)
		if isGone(slow) || isGone(left) {
			t.Fatal("one was put out too early")
		}
		for i := range 2 {
			if m, err := slow.Next(t.Context()); err != nil || m.Sequence != int64(i+1) {
				t.Fatalf("message %+v, %v", m, err)
			}
		}
		if _, err := slower.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		talk(t, quick, 1)
		if isGone(slow) {
			t.Error("one whose queue is just full was put out")
		}
		if !isGone(slower) {
			t.Error("a participant with one message too many is still connected")
		}
		// The unread messages of a participant that has finished are not kept
		// forever either.
		if !isGone(left) {
			t.Error("a finished participant that does not read is still connected")
		}
		talk(t, quick, 1)
		if !isGone(slow) {
			t.Error("a participant whose queue has overflowed is still connected")
		}
	})
}

// A participant that has finished and has read everything was not too slow,
// however long it keeps its place.
func TestFinished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := chat.NewRoom()
		done, quick := enter(t, room, "done"), enter(t, room, "quick")
		post(t, quick, "x")
		done.Finish()
		for range 2 {
			if _, err := done.Next(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			if _, err := quick.Next(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		talk(t, quick, 2100)
		if _, err := done.Next(t.Context()); !errors.Is(err, io.EOF) {
			t.Errorf("error %v, want EOF", err)
		}
		wantCode(t, done.Post(t.Context(), "x", upper), codes.FailedPrecondition)
	})
}

// A participant that floods the room waits itself: others post after one post
// of each.
func TestFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const flooders = 10
		room := chat.NewRoom()
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		read := func(p *chat.Participant) {
			for {
				if _, err := p.Next(ctx); err != nil {
					wantCode(t, err, codes.Canceled)
					return
				}
			}
		}
		for i := range flooders {
			p := enter(t, room, fmt.Sprint("p", i))
			all.Go(func() { read(p) })
			all.Go(func() {
				for p.Post(ctx, "flood", upper) == nil {
				}
			})
		}
		alice := enter(t, room, "alice")
		all.Go(func() { read(alice) })
		for range 5 {
			time.Sleep(time.Second)
			began := time.Now()
			post(t, alice, "hello")
			if waited := time.Since(began); waited > (flooders+1)*2*time.Millisecond+time.Millisecond {
				t.Fatalf("she waited %v", waited)
			}
		}
		// All participants that read are still connected.
		if names := room.Names(); len(names) != flooders+1 {
			t.Errorf("%d participants are there, want %d", len(names), flooders+1)
		}
		cancel()
		all.Wait()
	})
}

// Cancelled posts do not use up the pace of the others.
func TestGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := chat.NewRoom()
		alice := enter(t, room, "alice")
		defer alice.Leave()
		for range 250 { // the burst
			post(t, alice, "x")
		}
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for n := range 50 {
			p := enter(t, room, fmt.Sprint("p", n))
			all.Go(func() { wantCode(t, p.Post(ctx, "x", upper), codes.Canceled) })
		}
		synctest.Wait()
		cancel()
		all.Wait()
		began := time.Now()
		post(t, alice, "x")
		if waited := time.Since(began); waited > 3*time.Millisecond {
			t.Errorf("she waited %v", waited)
		}

		// A post whose context has no time left fails at once.
		ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		wantCode(t, alice.Post(ctx, "x", upper), codes.DeadlineExceeded)
	})
}

// A participant that posts without reading waits for itself, and is not
// disconnected for its own posts.
func TestTalker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := chat.NewRoom()
		talker := enter(t, room, "talker")
		const messages = 5000
		talked := make(chan error)
		go func() {
			for range messages {
				if err := talker.Post(t.Context(), "x", upper); err != nil {
					talked <- err
					return
				}
			}
			talked <- nil
		}()
		time.Sleep(time.Minute)
		select {
		case err := <-talked:
			t.Fatalf("it was not held up: %v", err)
		default:
		}
		for i := range 2 * messages {
			if m, err := talker.Next(t.Context()); err != nil || m.Sequence != int64(i+1) {
				t.Fatalf("message %+v, %v", m, err)
			}
		}
		if err := <-talked; err != nil {
			t.Error(err)
		}
	})
}

// A participant that waits for itself gets an error when the others' posts
// disconnect it.
func TestTalkerIsPutOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := chat.NewRoom()
		talker, quick := enter(t, room, "talker"), enter(t, room, "quick")
		talked := make(chan error)
		go func() {
			for {
				if err := talker.Post(t.Context(), "x", upper); err != nil {
					talked <- err
					return
				}
			}
		}()
		for i := range 6000 {
			if i%2 == 0 {
				post(t, quick, "x")
			}
			if _, err := quick.Next(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		wantCode(t, <-talked, codes.ResourceExhausted)
	})
}

func TestFullRoom(t *testing.T) {
	room := chat.NewRoom()
	var last *chat.Participant
	for i := range chat.MaxParticipants {
		p, err := room.Enter()
		if err != nil {
			t.Fatalf("participant %d: %v", i, err)
		}
		last = p
	}
	_, err := room.Enter()
	wantCode(t, err, codes.ResourceExhausted)
	last.Finish()
	_, err = room.Enter()
	wantCode(t, err, codes.ResourceExhausted)
	last.Leave()
	last.Leave()
	if _, err := room.Enter(); err != nil {
		t.Error(err)
	}
	_, err = room.Enter()
	wantCode(t, err, codes.ResourceExhausted)
}

func TestNames(t *testing.T) {
	room := chat.NewRoom()
	enter(t, room, "alice")
	p, err := room.Enter()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		want codes.Code
	}{
		{"", codes.InvalidArgument},
		{"a b", codes.InvalidArgument},
		{"älice", codes.InvalidArgument},
		{"a\n", codes.InvalidArgument},
		{strings.Repeat("a", 33), codes.InvalidArgument},
		{strings.Repeat("é", 1000), codes.InvalidArgument},
		{"assistant", codes.PermissionDenied},
		{"Assistant", codes.PermissionDenied},
		{"alice", codes.AlreadyExists},
		{"ALICE", codes.AlreadyExists},
		{strings.Repeat("a", 32), codes.OK},
	} {
		wantCode(t, p.Join(tt.name), tt.want)
	}
	wantCode(t, p.CheckUser(""), codes.OK)
	wantCode(t, p.CheckUser(strings.Repeat("a", 32)), codes.OK)
	wantCode(t, p.CheckUser("alice"), codes.InvalidArgument)
}

func TestTexts(t *testing.T) {
	room := chat.NewRoom()
	p := enter(t, room, "alice")
	for _, tt := range []struct {
		text string
		want codes.Code
	}{
		{"", codes.InvalidArgument},
		{"a\x00", codes.InvalidArgument},
		{"\x1b[2J", codes.InvalidArgument},
		{"a\u009b", codes.InvalidArgument},
		{"a\r", codes.InvalidArgument},
		{"a\xff", codes.InvalidArgument},
		{strings.Repeat("a", chat.MaxText+1), codes.InvalidArgument},
		{strings.Repeat("a", chat.MaxText), codes.OK},
		{"a\tb\nc", codes.OK},
		{" ", codes.OK},
		{"日本", codes.OK},
	} {
		wantCode(t, p.Post(t.Context(), tt.text, upper), tt.want)
	}
	p.Finish()
	if got := rest(t, p); len(got) != 8 {
		t.Errorf("%d messages were posted, want 8", len(got))
	}
}

func TestCanceled(t *testing.T) {
	room := chat.NewRoom()
	p := enter(t, room, "alice")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := p.Next(ctx)
	wantCode(t, err, codes.Canceled)
	wantCode(t, p.Post(ctx, "x", upper), codes.Canceled)
}
