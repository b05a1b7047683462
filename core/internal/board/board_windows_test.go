package board

import (
	"errors"
	"testing"
)

func readAsStranger(string) {}

func TestUnsupported(t *testing.T) {
	var warning error
	run := Begin(t.Context(), "x", func(err error) { warning = err })
	run.End(nil)
	if Supported || !errors.Is(warning, errors.ErrUnsupported) {
		t.Errorf("%v", warning)
	}
}
