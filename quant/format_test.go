package quant

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/phi3conv/phi3conv/internal/kern"
)

// Each type has kernels, which cut its blocks as the files have them.
func TestFormats(t *testing.T) {
	seen := map[kern.Format]bool{}
	for _, typ := range ReadTypes() {
		if !kern.HasFormat(typ.GGML()) {
			continue // package linear makes another format of it
		}
		f := kern.FormatOf(typ.GGML())
		seen[f] = true
		l := kern.Layouts[f]
		if got, want := int64(l.BlockBytes()), typ.Size(int64(l.Cols)); got != want || f.String() != typ.String() {
			t.Errorf("%s: %s has %d bytes for %d columns, expected %d", typ, f, got, l.Cols, want)
		}
	}
	if own := 2; len(seen)+own != int(kern.NumFormats) { // Table32 and Table16 are no types
		t.Errorf("%d formats are used, of %d", len(seen), kern.NumFormats)
	}
}

// A block has a bad scale if and only if one of its values is not finite.
func TestBadScale(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, typ := range ReadTypes() {
		if !typ.IsQuantized() {
			if typ.BadScale([]byte{0, 0x7c, 0, 0x7f}) != -1 {
				t.Errorf("%s has no scales", typ)
			}
			continue
		}
		found := map[int]bool{}
		block, values := make([]byte, 3*typ.BlockBytes()), make([]float32, 3*typ.BlockLen())
		for range 3000 {
			for i := range block {
				block[i] = byte(r.Uint32())
			}
			typ.Dequantize(values, block)
			first := -1 // block with a value that is not finite
			for i, v := range values {
				if first < 0 && (math.IsNaN(float64(v)) || math.IsInf(float64(v), 0)) {
					first = i / typ.BlockLen()
				}
			}
			at := typ.BadScale(block)
			if at < 0 && first >= 0 || at >= 0 && at/typ.BlockBytes() != first {
				t.Fatalf("%s: bad scale at byte %d, but block %d has a value that is not finite", typ, at, first)
			}
			if at >= 0 {
				found[at%typ.BlockBytes()] = true
			}
		}
		if kinds := len(types[typ].scales); len(found) != kinds && (len(found) != 1 || types[typ].bad == nil) {
			t.Errorf("%s: bad scales found at %v", typ, found)
		}
	}
}
