package stacks

import "testing"

func BenchmarkLabel(b *testing.B) {
	l := LabelOf("/stacks.Test/Bench")
	b.ReportAllocs()
	for b.Loop() {
		l.Set()
		Clear()
	}
}
