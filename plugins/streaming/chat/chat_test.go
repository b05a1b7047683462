package chat_test

import (
	"context"
	"errors"
	"fmt"
	"io"
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

// rest returns what one who has left can still take.
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
		bob.Leave()
		bob.Leave()
		post(t, alice, "three")
		alice.Leave()
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

// All get the same, in the same order, whoever says it, and the reply to each
// message right after it.
func TestOrder(t *testing.T) {
	const people, messages = 10, 300
	room := chat.NewRoom()
	got := make([][]chat.Message, people)
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
		if diff := cmp.Diff(got[0], got[i]); diff != "" {
			t.Fatalf("p0 and p%d got different things:\n%s", i, diff)
		}
	}
}

// One who does not take his messages is put out. The others wait a second for
// him, once.
func TestSlowParticipant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := chat.NewRoom()
		slow, quick := enter(t, room, "slow"), enter(t, room, "quick")
		began := time.Now()
		const messages = 2000
		for i := range messages {
			post(t, quick, "x")
			for range 2 {
				if m, err := quick.Next(t.Context()); err != nil || (m.Sequence-1)/2 != int64(i) {
					t.Fatalf("message %+v, %v", m, err)
				}
			}
		}
		if waited := time.Since(began); waited != time.Second {
			t.Errorf("the others waited %v", waited)
		}
		select {
		case <-slow.Gone():
		default:
			t.Fatal("the slow one is still there")
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
			t.Errorf("he cannot come back: %v", err)
		}
	})
}

// One who takes them, but fewer than 512 in a second while others wait, is put
// out as well; one who takes more is not.
func TestPace(t *testing.T) {
	for _, tt := range []struct {
		pause time.Duration // between two messages
		stays bool
	}{
		{time.Millisecond, true},
		{3 * time.Millisecond, false},
	} {
		t.Run(tt.pause.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				room := chat.NewRoom()
				slow, quick := enter(t, room, "slow"), enter(t, room, "quick")
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var reading sync.WaitGroup
				for _, p := range []*chat.Participant{slow, quick} {
					reading.Go(func() {
						for {
							if _, err := p.Next(ctx); err != nil {
								return
							}
							if p == slow {
								time.Sleep(tt.pause)
							}
						}
					})
				}
				for range 10_000 {
					post(t, quick, "x")
				}
				select {
				case <-slow.Gone():
					if tt.stays {
						t.Error("he was put out")
					}
				default:
					if !tt.stays {
						t.Error("he is still there")
					}
				}
				cancel()
				reading.Wait()
			})
		})
	}
}

// Those who wait for one who is full go on when he leaves.
func TestLeaveLetsOthersGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := chat.NewRoom()
		slow, quick := enter(t, room, "slow"), enter(t, room, "quick")
		began := time.Now()
		posted := make(chan error)
		go func() {
			var err error
			for range 600 {
				err = errors.Join(err, quick.Post(t.Context(), "x", upper))
				for range 2 {
					_, nextErr := quick.Next(t.Context())
					err = errors.Join(err, nextErr)
				}
			}
			posted <- err
		}()
		synctest.Wait()
		slow.Leave()
		if err := <-posted; err != nil || time.Since(began) != 0 {
			t.Errorf("error %v after %v", err, time.Since(began))
		}
		wantCode(t, slow.Post(t.Context(), "x", upper), codes.FailedPrecondition)
	})
}

// One who talks without listening waits for himself, and is not put out for it.
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
		synctest.Wait()
		select {
		case err := <-talked:
			t.Fatalf("he was not held up: %v", err)
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
	p.Leave()
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
	for err = nil; err == nil; { // until it would have to wait
		err = p.Post(ctx, "x", upper)
	}
	wantCode(t, err, codes.Canceled)
}
