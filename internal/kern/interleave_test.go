package kern

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// panelOf lays rows out as the comment "Panels" in formats.go says.
func panelOf(f Format, src []byte, rows int) []byte {
	rowBytes := len(src) / rows
	l := Layouts[f]
	var panel []byte
	for block := 0; block < rowBytes; block += l.BlockBytes() {
		at := block
		for i, n := range []int{l.Head, l.Quads, l.Tail} {
			size := []int{2, 4, 2}[i]
			for range n {
				for r := range Rows {
					unit := make([]byte, size)
					if r < rows {
						copy(unit, src[r*rowBytes:][at:rowBytes])
					}
					panel = append(panel, unit...)
				}
				at += size
			}
		}
	}
	return panel
}

// Every set makes the same panels, from rows in front of a guard page, and
// Deinterleave gives the rows back.
func TestInterleave(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	from, to := guardedMemory(t, 1<<15), guardedMemory(t, 1<<15)
	for f := range NumFormats {
		blockBytes := Layouts[f].BlockBytes() // in a file
		blockCols := Layouts[f].Cols
		counts := []int{1, 2, 3, 7}
		if isFloat(f) {
			counts = []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 15, 16, 17, 31, 33, 65}
		}
		if f == BF16 {
			blockBytes, blockCols = 2, 1
		}
		for _, count := range counts {
			for rows := 1; rows <= Rows; rows++ {
				n := rows * count * blockBytes
				src := from[len(from)-n:]
				for i := range src {
					src[i] = byte(r.Uint32())
				}
				want := panelOf(f, src, rows)
				if got := PanelBytes(f, count*blockCols); got != len(want) {
					t.Fatalf("%s: PanelBytes of %d blocks is %d, want %d", f, count, got, len(want))
				}
				before, dst := to[:len(to)-len(want)], to[len(to)-len(want):]
				for _, s := range Sets() {
					for i := range to {
						to[i] = 0xa5
					}
					s.interleave(f, dst, src, rows)
					if !bytes.Equal(dst, want) {
						t.Fatalf("%s/%s: %d blocks, %d rows: wrong panel", f, s.Name, count, rows)
					}
					if bytes.Count(before, []byte{0xa5}) != len(before) {
						t.Fatalf("%s/%s: %d blocks, %d rows: wrote before the panel", f, s.Name, count, rows)
					}
				}
				back := make([]byte, n)
				Deinterleave(f, back, want, rows)
				if !bytes.Equal(back, src) {
					t.Fatalf("%s: %d blocks, %d rows: the rows did not come back", f, count, rows)
				}
			}
		}
	}
}

func TestInterleavePanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a panel of the wrong size was accepted")
		}
	}()
	Interleave(Q4_0, make([]byte, 16*36), make([]byte, 16*18), 16)
}

func BenchmarkInterleave(b *testing.B) {
	for _, s := range Sets() {
		for f := range NumFormats {
			for _, cols := range []int{3072, 8192} {
				b.Run(fmt.Sprintf("%s/%s/%d", s.Name, f, cols), func(b *testing.B) {
					size := PanelBytes(f, cols)
					n := 48<<20/size + 1 // more than caches hold
					src, dst := make([]byte, n*size), make([]byte, n*size)
					RandomBlocks(rand.New(rand.NewPCG(1, 2)), f, src[:size])
					copy(dst, src)
					b.SetBytes(int64(size))
					i := 0
					for b.Loop() {
						s.interleave(f, dst[i*size:][:size], src[i*size:][:size], Rows)
						i = (i + 1) % n
					}
				})
			}
		}
	}
}
