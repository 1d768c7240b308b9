package kern

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
	"unsafe"
)

// A floatKernel is a kernel of a set for panels of a float format.
type floatKernel struct {
	name            string
	format          Format
	activationBytes int
	run, reference  func(*Product)
	tiled           bool // activations are, for run
}

// multiplication returns the kind of multiply-adds that the kernel consists of.
func (k *floatKernel) multiplication() Multiplication {
	if k.activationBytes == 2 {
		return BFloat16
	}
	return Float32
}

// floatKernels lists the set's kernels with what defines their results for one
// panel and one token.
func floatKernels(s *Set) []floatKernel {
	k := []floatKernel{
		{"F32", F32, 4, s.Products[F32], generic.Products[F32], false},
		{"F32 tiled", F32, 4, s.Products[F32], generic.Products[F32], true},
		{"F16", F16, 4, s.Products[F16], generic.Products[F16], false},
		{"BF16", BF16, 4, s.Products[BF16], generic.Products[BF16], false},
	}
	if s.ProductBF16 != nil {
		k = append(k, floatKernel{"BF16 by BF16", BF16, 2, s.ProductBF16, s.ProductBF16, false})
	}
	return k
}

// A call over panels and tokens gives the same bits as one for each panel and
// token, and writes nothing else. There are tiles of every shape and all remainders.
func TestFloatPanels(t *testing.T) {
	const gap = 12 // bytes between tokens, between panels and between results
	for _, s := range Sets() {
		for _, k := range floatKernels(s) {
			t.Run(s.Name+"/"+k.name, func(t *testing.T) {
				r := rand.New(rand.NewPCG(1, 2))
				for i := range 7 * 17 * 2 {
					panels, tokens, columns := 1+i%7, 1+i/7%17, 1+r.IntN(24)
					if k.format == BF16 {
						columns += columns % 2
					}
					size := PanelBytes(k.format, columns)
					w := make([]byte, 4+panels*(size+gap))[4:]
					for p := range panels {
						RandomBlocks(r, k.format, w[p*(size+gap):][:size])
					}
					a := make([]byte, tokens*(k.activationBytes*columns+gap))
					RandomBlocks(r, map[int]Format{2: BF16, 4: F32}[k.activationBytes], a)
					got := make([]float32, tokens*(Rows*panels+gap/4))
					for i := range got {
						got[i] = randomFloat(r)
					}
					want := slices.Clone(got)
					p := Product{
						Out: &want[0], OutStride: int64(4*Rows*panels + gap), Add: int64(i / (7 * 17)),
						W: &w[0], PanelBytes: int64(size + gap), Blocks: int64(columns),
						A: &a[0], AStride: int64(len(a) / tokens), T: 1, Panels: 1,
					}
					for panel := range panels {
						for token := range tokens {
							p.Out = &want[token*int(p.OutStride/4)+Rows*panel]
							p.W = &w[panel*int(p.PanelBytes)]
							p.A = &a[token*int(p.AStride)]
							k.reference(&p)
						}
					}
					p.Out, p.W, p.A, p.Panels, p.T = &got[0], &w[0], &a[0], int64(panels), int64(tokens)
					if k.tiled {
						p.tile(tokens, columns)
					}
					k.run(&p)
					for i := range want {
						if math.Float32bits(want[i]) != math.Float32bits(got[i]) {
							t.Fatalf("%d panels, %d tokens, %d columns, add %d: float %d is %v, want %v",
								panels, tokens, columns, p.Add, i, got[i], want[i])
						}
					}
				}
			})
		}
	}
}

// tile makes tiles of p's activations.
func (p *Product) tile(tokens, columns int) {
	stride := int(p.AStride) / 4
	rows := unsafe.Slice((*float32)(unsafe.Pointer(p.A)), (tokens-1)*stride+columns)
	tiles := make([]float32, TiledLen(tokens, columns))
	LayTiles(tiles, rows, stride, tokens, columns)
	p.A, p.AStride, p.Tiled = (*byte)(unsafe.Pointer(&tiles[0])), int64(4*TileTokens*columns), 1
}

// The product of 512 tokens with four panels as callers make it, 256 of 3072
// columns at a time, in turns with the peak, and that of one token with more weights than caches hold, on as
// many threads as -cpu says.
func BenchmarkFloatPanels(b *testing.B) {
	const panels, columns, block, tokens = 4, 3072, 256, 512
	a, out := make([]float32, TiledLen(tokens, columns)), make([]float32, tokens*columns)
	w := slices.Repeat([]byte{0, 0x3c}, 64<<20)
	for _, s := range Sets() {
		for _, k := range floatKernels(s) {
			size := PanelBytes(k.format, columns)
			prefill := Product{
				Out: &out[0], OutStride: 4 * Rows * panels, Add: 1,
				T: tokens, AStride: int64(k.activationBytes * columns), Blocks: block,
				Panels: panels, PanelBytes: int64(size),
			}
			if k.tiled {
				prefill.AStride, prefill.Tiled = 4*TileTokens*block, 1
			}
			b.Run(fmt.Sprintf("%s/%s/T=%d", s.Name, k.name, tokens), func(b *testing.B) {
				var took, atPeak time.Duration
				const macs, calls = Rows * panels * block * tokens, 4
				peak := s.Peaks[k.multiplication()]
				turns := 1 + calls*macs/max(1, peak.MACs)
				for i := 0; b.Loop(); {
					start := time.Now()
					for range calls {
						first := i % (columns / block) * block
						prefill.A = (*byte)(unsafe.Pointer(&a[first*k.activationBytes/4]))
						if k.tiled {
							prefill.A = (*byte)(unsafe.Pointer(&a[first*TiledLen(tokens, 1)]))
						}
						prefill.W = &w[PanelBytes(k.format, first)]
						k.run(&prefill)
						i++
					}
					took += time.Since(start)
					if peak.Run != nil {
						start = time.Now()
						peak.Run(turns)
						atPeak += time.Since(start)
					}
				}
				b.ReportMetric(macs*calls*float64(b.N)/took.Seconds()/1e9, "GMAC/s")
				b.ReportMetric(100*float64(atPeak)/float64(took), "%ofpeak")
			})
			b.Run(fmt.Sprintf("%s/%s/T=1", s.Name, k.name), func(b *testing.B) {
				b.SetBytes(int64(panels * size)) // of weights, from memory
				b.RunParallel(func(pb *testing.PB) {
					out := make([]float32, Rows*panels)
					decode := Product{
						Out: &out[0], A: (*byte)(unsafe.Pointer(&a[0])), T: 1, Blocks: columns, Panels: panels,
						PanelBytes: int64(size),
					}
					next := rand.IntN(len(w))
					for pb.Next() {
						if next += panels * size; next > len(w)-panels*size {
							next = 0
						}
						decode.W = &w[next&^63]
						k.run(&decode)
					}
				})
			})
		}
	}
}
