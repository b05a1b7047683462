package handler_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/plugwire/plugwire/plugins/streaming/streaming"
	"github.com/plugwire/plugwire/transport/unix"
)

type chatClient = grpc.BidiStreamingClient[streaming.ChatMessage, streaming.ChatMessage]

// join returns the stream of a participant that has joined.
func (s *service) join(t *testing.T, name string) chatClient {
	t.Helper()
	stream, err := s.Chat(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&streaming.ChatMessage{User: name}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Header(); err != nil {
		t.Fatal(err)
	}
	return stream
}

func say(t *testing.T, stream chatClient, text string) {
	t.Helper()
	if err := stream.Send(&streaming.ChatMessage{Text: text}); err != nil {
		t.Fatal(err)
	}
}

// hear returns the next n messages as "user: text".
func hear(t *testing.T, stream chatClient, n int) []string {
	t.Helper()
	var heard []string
	for range n {
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if age := time.Since(time.Unix(m.GetTimestamp(), 0)); age < 0 || age > time.Minute {
			t.Errorf("the message is %v old", age)
		}
		heard = append(heard, m.GetUser()+": "+m.GetText())
	}
	return heard
}

func wantEnd(t *testing.T, stream chatClient) {
	t.Helper()
	if m, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("%v, %v; want the end", m, err)
	}
}

func TestChat(t *testing.T) {
	s := start(t, unix.New())
	s.write(t, "notes", nil)
	alice, bob := s.join(t, "alice"), s.join(t, "bob")
	say(t, alice, "good morning")
	want := []string{"alice: good morning", "assistant: 2 words, 12 characters"}
	for _, stream := range []chatClient{alice, bob} {
		if diff := cmp.Diff(want, hear(t, stream, 2)); diff != "" {
			t.Errorf("heard (-want +got):\n%s", diff)
		}
	}
	for _, tt := range []struct{ text, reply string }{
		{"/who", "alice, bob"},
		{"/calc 2^10", "1024"},
		{"/files", "notes"},
	} {
		say(t, bob, tt.text)
		want := []string{"bob: " + tt.text, "assistant: " + tt.reply}
		for _, stream := range []chatClient{alice, bob} {
			if diff := cmp.Diff(want, hear(t, stream, 2)); diff != "" {
				t.Errorf("heard (-want +got):\n%s", diff)
			}
		}
	}

	// A participant that leaves gets the earlier messages, and then the end.
	say(t, bob, "bye")
	if err := bob.CloseSend(); err != nil {
		t.Fatal(err)
	}
	hear(t, bob, 2)
	wantEnd(t, bob)
	hear(t, alice, 2)
	say(t, alice, "/who")
	if diff := cmp.Diff([]string{"alice: /who", "assistant: alice"}, hear(t, alice, 2)); diff != "" {
		t.Errorf("heard (-want +got):\n%s", diff)
	}
	if err := alice.CloseSend(); err != nil {
		t.Fatal(err)
	}
	wantEnd(t, alice)
}

func TestChatErrors(t *testing.T) {
	s := start(t, unix.New())
	alice := s.join(t, "alice")
	for _, tt := range []struct {
		name     string
		messages []*streaming.ChatMessage
		want     codes.Code
	}{
		{"no name", []*streaming.ChatMessage{{Text: "x"}}, codes.InvalidArgument},
		{"a name that is taken", []*streaming.ChatMessage{{User: "Alice"}}, codes.AlreadyExists},
		{"the assistant's name", []*streaming.ChatMessage{{User: "assistant"}}, codes.PermissionDenied},
		{"another name later", []*streaming.ChatMessage{{User: "bob"}, {User: "alice", Text: "x"}}, codes.InvalidArgument},
		{"no text later", []*streaming.ChatMessage{{User: "bob"}, {}}, codes.InvalidArgument},
		{"a control character", []*streaming.ChatMessage{{User: "bob", Text: "\x1b"}}, codes.InvalidArgument},
		{"too long", []*streaming.ChatMessage{{User: "bob", Text: strings.Repeat("x", 4097)}}, codes.InvalidArgument},
		{"nothing", nil, codes.OK},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stream, err := s.Chat(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range tt.messages {
				if err := stream.Send(m); err != nil {
					break // Recv returns why
				}
			}
			if tt.want == codes.OK {
				err = stream.CloseSend()
			}
			for err == nil {
				_, err = stream.Recv()
			}
			if errors.Is(err, io.EOF) {
				err = nil
			}
			wantCode(t, err, tt.want)
		})
	}
	// No participant got a message about them.
	say(t, alice, "/who")
	if diff := cmp.Diff([]string{"alice: /who", "assistant: alice"}, hear(t, alice, 2)); diff != "" {
		t.Errorf("heard (-want +got):\n%s", diff)
	}
}

// After a mistake a participant gets the earlier messages, and then the error.
func TestMistake(t *testing.T) {
	s := start(t, unix.New())
	alice := s.join(t, "alice")
	const messages = 200
	for range messages {
		say(t, alice, "x")
	}
	say(t, alice, "\x1b")
	hear(t, alice, 2*messages)
	_, err := alice.Recv()
	wantCode(t, err, codes.InvalidArgument)
}

// All participants of a plugin get every message, in one order.
func TestManyTalk(t *testing.T) {
	t.Parallel() // the test waits for the pace of the room
	const people, messages = 8, 100
	s := start(t, unix.New())
	streams := make([]chatClient, people)
	for i := range streams {
		streams[i] = s.join(t, fmt.Sprint("p", i))
	}
	heard := make([][]string, people)
	var wg sync.WaitGroup
	for i, stream := range streams {
		wg.Go(func() {
			for n := range messages {
				if err := stream.Send(&streaming.ChatMessage{Text: strconv.Itoa(n)}); err != nil {
					t.Error(err)
					return
				}
			}
		})
		wg.Go(func() {
			for n := range people * messages * 2 {
				m, err := stream.Recv()
				if err != nil || m.GetSequence() != int64(n+1) {
					t.Errorf("p%d: message %v, %v", i, m, err)
					return
				}
				heard[i] = append(heard[i], m.GetUser()+": "+m.GetText())
			}
		})
	}
	wg.Wait()
	for i := range heard {
		if !slices.Equal(heard[0], heard[i]) {
			t.Fatalf("p0 and p%d heard different things:\n%s", i, cmp.Diff(heard[0], heard[i]))
		}
	}
	next := map[string]int{}
	for i := 0; i < len(heard[0]); i += 2 {
		user, text, _ := strings.Cut(heard[0][i], ": ")
		if text != strconv.Itoa(next[user]) || heard[0][i+1] != fmt.Sprintf("assistant: 1 word, %d character%s", len(text), map[bool]string{true: "s"}[len(text) > 1]) {
			t.Fatalf("%q, %q", heard[0][i], heard[0][i+1])
		}
		next[user]++
	}
}

// A participant that does not read is disconnected, and the others do not
// notice.
func TestParticipantThatDoesNotRead(t *testing.T) {
	t.Parallel() // the test waits for the pace of the room
	s := start(t, unix.New())
	slow, quick := s.join(t, "slow"), s.join(t, "quick")
	// These are more than queue and connection hold.
	const posts, both = 100, 2
	text := strings.Repeat("x", 4000)
	participants := int32(both)
	for began := time.Now(); participants == both; {
		for range posts {
			say(t, quick, text)
		}
		hear(t, quick, 2*posts)
		st, err := s.GetStatus(t.Context(), &streaming.StatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		participants = st.GetParticipants()
		if time.Since(began) > patience {
			t.Fatal("the participant is still connected")
		}
	}
	say(t, quick, "/who")
	if diff := cmp.Diff([]string{"quick: /who", "assistant: quick"}, hear(t, quick, 2)); diff != "" {
		t.Errorf("heard (-want +got):\n%s", diff)
	}
	// When it reads after all, it gets the messages in flight, and then the
	// reason.
	var err error
	for last := int64(0); err == nil; last++ {
		var m *streaming.ChatMessage
		if m, err = slow.Recv(); err == nil && m.GetSequence() != last+1 {
			t.Fatalf("message %d follows %d", m.GetSequence(), last)
		}
	}
	wantCode(t, err, codes.ResourceExhausted)
}

func TestFullRoom(t *testing.T) {
	s := start(t, unix.New())
	ctx, cancel := context.WithCancel(t.Context())
	for i := range 64 {
		stream, err := s.Chat(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(&streaming.ChatMessage{User: fmt.Sprint("p", i)}); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Header(); err != nil {
			t.Fatal(err)
		}
	}
	stream, err := s.Chat(t.Context())
	if err == nil {
		_, err = stream.Recv()
	}
	wantCode(t, err, codes.ResourceExhausted)
	cancel() // all disconnect without a message
	waitFor(t, func() bool {
		st, err := s.GetStatus(t.Context(), &streaming.StatusRequest{})
		return err == nil && st.GetParticipants() == 0
	})
	s.join(t, "p0")
}

// A plugin that has to stop does not wait for a conversation to end, which
// might never end, nor for a participant that has not sent its name.
func TestChatWhileThePluginStops(t *testing.T) {
	s := start(t, unix.New())
	silent, err := s.Chat(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	alice := s.join(t, "alice")
	if err := s.plugin.Close(); err != nil {
		t.Error(err)
	}
	for _, stream := range []chatClient{alice, silent} {
		_, err := stream.Recv()
		wantCode(t, err, codes.Unavailable)
	}
	if strings.Contains(s.log.String(), "cut off") {
		t.Errorf("the plugin waited:\n%s", s.log)
	}
}
