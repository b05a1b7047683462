package stacks

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// block waits until release is closed. Its name is what the test looks for.
func block(entered *sync.WaitGroup, release <-chan struct{}) {
	entered.Done()
	<-release
}

func inGoroutine(l Label, f func()) {
	l.Set()
	defer Clear()
	f()
}

func TestTake(t *testing.T) {
	t.Parallel()
	const method, other = "/stacks.Test/Take", "/stacks.Test/Other"
	release := make(chan struct{})
	var entered, ended sync.WaitGroup
	entered.Add(3)
	for _, m := range []string{method, method, other} {
		ended.Go(func() { inGoroutine(LabelOf(m), func() { block(&entered, release) }) })
	}
	entered.Wait()
	got := new(Taker).Take(method)
	all := new(Taker).Take("")
	close(release)
	ended.Wait()
	if !strings.Contains(got, method) || !strings.Contains(got, "stacks.block") || !strings.Contains(got, "stacks_test.go:") || strings.Contains(got, other) {
		t.Errorf("the stacks of %s are\n%s", method, got)
	}
	if !strings.Contains(all, method) || !strings.Contains(all, other) {
		t.Errorf("all stacks are\n%s", all)
	}
	if got := new(Taker).Take(method); got != "" {
		t.Errorf("after the end:\n%s", got)
	}
}

// A process takes its stacks at most once a second.
func TestTakeSeldom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const method = "/stacks.Test/Seldom"
		LabelOf(method).Set()
		defer Clear()
		taker := new(Taker)
		for i, want := range []bool{true, false, true, false} {
			if got := taker.Take(method) != ""; got != want {
				t.Errorf("the stacks were taken at step %d: %t, want %t", i, got, want)
			}
			time.Sleep(interval / 2)
		}
	})
}

// The text has a limit, and says how much is left out.
func TestTakeIsBounded(t *testing.T) {
	t.Parallel()
	const method, goroutines = "/stacks.Test/Bounded", 300
	release := make(chan struct{})
	var entered, ended sync.WaitGroup
	entered.Add(goroutines)
	for i := range goroutines {
		ended.Go(func() { inGoroutine(LabelOf(method), func() { nest(i, &entered, release) }) })
	}
	entered.Wait()
	got := new(Taker).Take(method)
	close(release)
	ended.Wait()
	if len(got) > maxText+100 || !strings.Contains(got, "more goroutines") {
		t.Errorf("%d bytes, which end with %q", len(got), got[max(0, len(got)-200):])
	}
}

// nest blocks at a depth of its own, so that no two stacks are the same.
func nest(depth int, entered *sync.WaitGroup, release <-chan struct{}) {
	if depth > 0 {
		nest(depth-1, entered, release)
		return
	}
	block(entered, release)
}
