package pw

import (
	"context"
	"errors"
	"net"
	"testing"
)

func TestLaneIsNarrowBesideOthers(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	l := newLane(near)
	if n := l.pieceSize(false); n != pieceSize {
		t.Errorf("a call that is alone sends pieces of %d bytes", n)
	}
	if n := l.pieceSize(true); n != narrowPiece {
		t.Errorf("a call beside others sends pieces of %d bytes", n)
	}
	for i := 1; i < piecesAlone; i++ {
		if n := l.pieceSize(false); n != narrowPiece {
			t.Errorf("piece %d of a call that was beside others a moment ago has %d bytes", i, n)
		}
	}
	if n := l.pieceSize(false); n != pieceSize {
		t.Errorf("a call that is alone for long sends pieces of %d bytes", n)
	}
}

func TestLaneTakesTurns(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	l := newLane(near)
	if err := l.enter(context.Background()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := l.enter(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("the lane of another: %v", err)
	}
	entered := make(chan error, 1)
	go func() { entered <- l.enter(context.Background()) }()
	l.leave()
	if err := <-entered; err != nil {
		t.Error(err)
	}
	l.leave()
	if err := l.enter(ctx); err != nil {
		t.Errorf("a free lane: %v", err)
	}
}
