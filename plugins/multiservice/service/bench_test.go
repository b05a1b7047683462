package service_test

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/plugwire/plugwire/plugins/multiservice/multi"
)

// BenchmarkStoreData stores values of 1 KiB, each acknowledged when it is on the
// disk, by one caller and by 64 at a time.
func BenchmarkStoreData(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprint("callers=", callers), func(b *testing.B) {
			s := populated(b)
			value := make([]byte, 1<<10)
			var n atomic.Int64
			store := func() bool {
				_, err := s.StoreData(b.Context(), &multi.StoreRequest{Caller: writer, Key: fmt.Sprintf("key%06d", n.Add(1)%10_000), Value: value})
				if err != nil {
					b.Error(err)
				}
				return err == nil
			}
			b.ReportAllocs()
			if callers == 1 {
				for b.Loop() {
					store()
				}
				return
			}
			b.SetParallelism((callers + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() && store() {
				}
			})
		})
	}
}

// BenchmarkQueryData queries a page with values of 1 KiB, out of 2000.
func BenchmarkQueryData(b *testing.B) {
	s := populated(b)
	value := string(make([]byte, 1<<10))
	for i := range 2000 {
		mustStore(b, s, fmt.Sprintf("key%06d", i), value)
	}
	for _, size := range []int32{1, 50, 1000} {
		b.Run(fmt.Sprint("entries=", size), func(b *testing.B) {
			request := &multi.QueryRequest{Caller: reader, Prefix: "key0010", PageSize: size}
			if size > 50 {
				request.Prefix = "key"
			}
			b.ReportAllocs()
			for b.Loop() {
				if response := mustQuery(b, s, request); len(response.GetEntries()) != int(size) {
					b.Fatalf("%d entries, want %d", len(response.GetEntries()), size)
				}
			}
		})
	}
}
