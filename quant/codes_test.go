package quant

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// newBlocks returns n blocks of the type, unpacked.
func newBlocks(typ Type, n int) []Block {
	blocks := make([]Block, n)
	groups := typ.BlockLen() / typ.Geometry().Group
	for i := range blocks {
		blocks[i] = Block{Scale: make([]int8, groups), Min: make([]int8, groups), Codes: make([]uint8, typ.BlockLen())}
	}
	return blocks
}

// Unpacked values follow the formula of Geometry, within its ranges, and packing gives the
// same bytes: for what the encoder writes and for any other bytes.
func TestBlocks(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	x, imp := matrix(r, 8, 512)
	for _, typ := range Types() {
		if types[typ].codes.pack == nil {
			continue
		}
		g, size := typ.Geometry(), typ.BlockBytes()
		if !slices.IsSorted(g.Levels) || g.Group != 16 && g.Group != 32 || typ.BlockLen()%g.Group != 0 ||
			len(g.Levels) > 256 {
			t.Errorf("%s: geometry %+v", typ, g)
		}
		random := make([]byte, 200*size)
		for i := range random {
			random[i] = byte(r.Uint32())
		}
		for _, data := range [][]byte{encode(typ, x, 512, nil), encode(typ, x, 512, imp), random} {
			for ; len(data) > 0; data = data[size:] {
				if src := data[:size]; typ.BadScale(src) < 0 {
					checkUnpacked(t, typ, src)
				}
			}
		}
	}
}

func checkUnpacked(t *testing.T, typ Type, src []byte) {
	t.Helper()
	g := typ.Geometry()
	b := newBlocks(typ, 1)[0]
	typ.Unpack(&b, src)
	packed := make([]byte, len(src))
	for i := range packed {
		packed[i] = 0xa5 // what was there must not matter
	}
	typ.Pack(packed, &b)
	if !bytes.Equal(packed, src) {
		t.Fatalf("%s: %x became %x", typ, src, packed)
	}
	for i, want := range decode(typ, src, typ.BlockLen()) {
		sc, mn, code := int(b.Scale[i/g.Group]), int(b.Min[i/g.Group]), int(b.Codes[i])
		if sc < g.ScaleLo || sc > g.ScaleHi || mn < g.MinLo || mn > g.MinHi || code >= len(g.Levels) {
			t.Fatalf("%s: scale %d, minimum %d, code %d out of range", typ, sc, mn, code)
		}
		scale := b.D * float32(sc)
		got := float32(scale*g.Levels[code]) - float32(b.DMin*float32(mn))
		if math.Float32bits(got) != math.Float32bits(want) && (got != 0 || want != 0) {
			t.Fatalf("%s: weight %d is %g, want %g", typ, i, got, want)
		}
	}
}

// A type without geometry says so, and cannot be taken apart.
func TestWithoutGeometry(t *testing.T) {
	for _, typ := range Types() {
		if typ.HasGeometry() && !typ.IsQuantized() {
			t.Errorf("%s has a geometry, but no blocks", typ)
		}
	}
	kept := types[Q4_0].codes
	defer func() { types[Q4_0].codes = kept }()
	types[Q4_0].codes = codes{}
	if err := Q4_0.CheckGeometry(); Q4_0.HasGeometry() || err == nil || !strings.Contains(err.Error(), "Q4_0") {
		t.Errorf("a type without codes: HasGeometry %t, %v", Q4_0.HasGeometry(), err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a type without codes was unpacked")
		}
	}()
	Q4_0.Unpack(&Block{Codes: make([]uint8, 32)}, make([]byte, 18))
}
