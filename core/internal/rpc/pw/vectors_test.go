package pw

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"testing"
	"time"
)

// hexBytes are bytes that JSON has in hexadecimal.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

// vectors are the cases that docs/wire.md gives to implementations in other languages.
type vectors struct {
	Frames []struct {
		Hex, Payload hexBytes
		Kind         kind
		Call         uint32
	}
	Conversation []struct {
		What           string
		Sent, Received hexBytes
	}
	Broken []struct {
		What           string
		Sent, Repeated hexBytes
		Repeat         int
	}
	TrackConversation []struct {
		What           string
		Sent, Received hexBytes
	} `json:"track_conversation"`
	TrackBroken []struct {
		What string
		Sent hexBytes
	} `json:"track_broken"`
}

func readVectors(t *testing.T) (v vectors) {
	t.Helper()
	text, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&v); err != nil {
		t.Fatal(err)
	}
	if len(v.Frames) == 0 || len(v.Conversation) == 0 || len(v.Broken) == 0 || len(v.TrackConversation) == 0 || len(v.TrackBroken) == 0 {
		t.Fatal("a part of the vectors is empty")
	}
	return v
}

func TestVectorsOfFrames(t *testing.T) {
	t.Parallel()
	for _, v := range readVectors(t).Frames {
		in := inbuf{buf: v.Hex, w: len(v.Hex)}
		f, ok, err := in.frame()
		if err != nil || !ok || f.kind != v.Kind || f.id != v.Call || !bytes.Equal(f.payload, v.Payload) {
			t.Errorf("%x: %v, %t, %v", []byte(v.Hex), f, ok, err)
		}
		if got := encoded(v.Kind, v.Call, v.Payload...); !bytes.Equal(got, v.Hex) {
			t.Errorf("written: %x, want %x", got, []byte(v.Hex))
		}
	}
}

// TestVectorsOfConversation plays the host of a plugin that echoes.
func TestVectorsOfConversation(t *testing.T) {
	t.Parallel()
	p := against(t, "plugin", &service{})
	for _, step := range readVectors(t).Conversation {
		p.write(step.Sent, hang)
		got := make([]byte, len(step.Received))
		if err := p.conn.SetReadDeadline(time.Now().Add(hang)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(p.conn, got); err != nil {
			t.Fatalf("%s: %v", step.What, err)
		}
		if !bytes.Equal(got, step.Received) {
			t.Fatalf("%s: received\n%x, want\n%x", step.What, got, []byte(step.Received))
		}
	}
}

func TestVectorsOfBrokenRules(t *testing.T) {
	t.Parallel()
	for _, v := range readVectors(t).Broken {
		p := against(t, "plugin", &service{duplex: func(stream duplex) error {
			<-stream.Context().Done()
			return nil
		}})
		p.write(append(v.Sent, bytes.Repeat(v.Repeated, v.Repeat)...), hang)
		p.assertEnded(v.What)
		p.real.mu.Lock()
		if !errors.Is(p.real.lostWith, errProtocol) {
			t.Errorf("%s: lost with %v, want %v", v.What, p.real.lostWith, errProtocol)
		}
		p.real.mu.Unlock()
	}
}

// TestVectorsOfTrackConversation plays the host of a plugin that echoes, on one stream of calls.
func TestVectorsOfTrackConversation(t *testing.T) {
	t.Parallel()
	p := againstMesh(t, "plugin", &service{})
	l := p.open()
	for _, step := range readVectors(t).TrackConversation {
		l.write(step.Sent)
		got := make([]byte, len(step.Received))
		if _, err := io.ReadFull(l, got); err != nil {
			t.Fatalf("%s: %v", step.What, err)
		}
		if !bytes.Equal(got, step.Received) {
			t.Fatalf("%s: received\n%x, want\n%x", step.What, got, []byte(step.Received))
		}
	}
	if _, err := l.next(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last step: %v, want %v", err, io.EOF)
	}
}

func TestVectorsOfBrokenTracks(t *testing.T) {
	t.Parallel()
	for _, v := range readVectors(t).TrackBroken {
		p := againstMesh(t, "plugin", &service{})
		p.open(v.Sent...)
		p.assertLost(v.What, errProtocol)
	}
}
