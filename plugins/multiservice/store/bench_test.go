package store

import (
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"go.etcd.io/bbolt"
)

// BenchmarkWriters compares shared transactions with one transaction for each
// write. Each side has 64 writers of 1 KiB, and waits for the disk.
func BenchmarkWriters(b *testing.B) {
	const writers = 64
	value := strings.Repeat("x", 1<<10)
	for _, side := range []struct {
		name  string
		write func(s *Store, key string) error
	}{
		{"update", func(s *Store, key string) error {
			return s.db.Update(func(tx *bbolt.Tx) error { return putter(key, value)(s.begin(tx)) })
		}},
		{"batch", func(s *Store, key string) error { return s.Update(b.Context(), putter(key, value)) }},
	} {
		b.Run(side.name, func(b *testing.B) {
			s := mustOpen(b, b.TempDir())
			var n atomic.Int64
			b.ReportAllocs()
			b.SetParallelism((writers + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := side.write(s, fmt.Sprintf("key%06d", n.Add(1)%10_000)); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
		})
	}
}
