package processor

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func texts(s *store) []string {
	var texts []string
	for r := range s.newestFirst() {
		texts = append(texts, r.data)
	}
	return texts
}

func TestStoreBounds(t *testing.T) {
	for _, tt := range []struct {
		name       string
		maxEntries int
		maxBytes   int
		add        []string
		want       []string
	}{
		{"empty", 2, 10, nil, nil},
		{"entries", 2, 10, []string{"a", "b", "c"}, []string{"c", "b"}},
		{"bytes, exactly", 9, 4, []string{"aa", "bb"}, []string{"bb", "aa"}},
		{"bytes", 9, 4, []string{"aa", "bb", "c"}, []string{"c", "bb"}},
		{"one makes room for many", 9, 4, []string{"a", "b", "c", "dddd"}, []string{"dddd"}},
		{"empty text", 2, 4, []string{"", "", ""}, []string{"", ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &store{maxEntries: tt.maxEntries, maxBytes: tt.maxBytes}
			bytes := 0
			for _, data := range tt.add {
				s.add(data, time.Now())
			}
			for _, data := range tt.want {
				bytes += len(data)
			}
			if diff := cmp.Diff(tt.want, texts(s)); diff != "" {
				t.Errorf("texts (-want +got):\n%s", diff)
			}
			if s.bytes != bytes {
				t.Errorf("%d bytes counted, want %d", s.bytes, bytes)
			}
		})
	}
}

// The memory of a full store does not grow.
func TestStoreStaysSmall(t *testing.T) {
	s := &store{maxEntries: 100, maxBytes: 1000}
	for range 100_000 {
		s.add("x", time.Now())
	}
	if len(s.entries) != 100 || cap(s.entries) > 1000 {
		t.Errorf("%d entries with room for %d", len(s.entries), cap(s.entries))
	}
	if s.entries[99].id != 100_000 {
		t.Errorf("last id %d, want 100000", s.entries[99].id)
	}
}

func TestStoreChangesDuringIteration(t *testing.T) {
	s := &store{maxEntries: 3, maxBytes: 100}
	for _, data := range []string{"a", "b", "c"} {
		s.add(data, time.Now())
	}
	var got []string
	for r := range s.newestFirst() {
		got = append(got, r.data)
		if r.data == "c" {
			s.add("d", time.Now()) // drops a, and the new one is too new for this iteration
		}
	}
	if diff := cmp.Diff([]string{"c", "b"}, got); diff != "" {
		t.Errorf("texts (-want +got):\n%s", diff)
	}
}

// A trimmed text must not keep the original text in memory.
func TestTrimCopies(t *testing.T) {
	steps, err := parseOptions(map[string]string{optTrim: "true"})
	if err != nil {
		t.Fatal(err)
	}
	long := "x" + strings.Repeat(" ", 1<<20)
	allocated := testing.AllocsPerRun(10, func() {
		if steps[0].apply(long) != "x" {
			t.Error("not trimmed")
		}
	})
	if allocated == 0 {
		t.Error("trim returns a part of the text, want a copy")
	}
}
