package files

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A download of a just changed file waits until a further change would be
// noticed.
func TestSettle(t *testing.T) {
	for age, want := range map[time.Duration]time.Duration{
		-time.Hour:     0,
		0:              settleTime,
		settleTime / 4: settleTime * 3 / 4,
		settleTime:     0,
		time.Hour:      0,
	} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			if err := settle(t.Context(), age); err != nil {
				t.Error(err)
			}
			if waited := time.Since(began); waited != want {
				t.Errorf("waited %v for a change %v ago, want %v", waited, age, want)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := settle(ctx, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want Canceled", err)
	}
}
