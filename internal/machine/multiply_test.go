package machine

import (
	"testing"

	"github.com/phi3conv/phi3conv/internal/kern"
)

func TestMultiplyPeak(t *testing.T) {
	for kind := range kern.NumMultiplications {
		got := MultiplyPeak(kind, 2)
		if has := kern.Best().Peaks[kind].Run != nil; has != (got > 0) || has && (got < 1e7 || got > 1e16) {
			t.Errorf("kind %d: %g multiply-adds a second", kind, got)
		}
	}
}
