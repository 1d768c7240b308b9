package kern

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

// A floatKernel is a kernel of a set for panels of a float format.
type floatKernel struct {
	name            string
	format          Format
	activationBytes int
	run, reference  func(*Product)
}

// floatKernels lists the set's kernels with what defines their results for one
// panel and one token.
func floatKernels(s *Set) []floatKernel {
	k := []floatKernel{
		{"F32", F32, 4, s.Products[F32], generic.Products[F32]},
		{"F16", F16, 4, s.Products[F16], generic.Products[F16]},
		{"BF16", BF16, 4, s.Products[BF16], generic.Products[BF16]},
	}
	if s.ProductBF16 != nil {
		k = append(k, floatKernel{"BF16 by BF16", BF16, 2, s.ProductBF16, s.ProductBF16})
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
				for i := range 8 * 19 * 2 {
					panels, tokens, columns := 1+i%8, 1+i/8%19, 1+r.IntN(40)
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
						Out: &want[0], OutStride: int64(4*Rows*panels + gap), Add: int64(i / (8 * 19)),
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

// A product of 512 tokens as callers make it, 256 of 3072 columns at a time, and
// one token's product with more weights than caches hold.
func BenchmarkFloatProducts(b *testing.B) {
	const columns, tokens = 3072, 512
	for _, s := range Sets() {
		if s == &generic {
			continue
		}
		bench := func(name string, f Format, aBytes int, kernel func(*Product)) {
			size := PanelBytes(f, columns)
			var weights []byte
			setup := func() { // for a benchmark that runs; untouched memory would all be one page
				if weights == nil {
					weights = slices.Repeat([]byte{0, 0x3c}, 384*size)
				}
			}
			a := make([]float32, tokens*columns)
			for _, panels := range []int{1, 4, 6} {
				for _, stride := range []int{256, columns} {
					const block = 256
					b.Run(fmt.Sprintf("%s/%s/prefill/panels=%d/stride=%d", s.Name, name, panels, stride), func(b *testing.B) {
						setup()
						out := make([]float32, tokens*columns)
						p := Product{Out: &out[0], T: tokens, Blocks: int64(block), OutStride: 4 * columns, AStride: int64(aBytes * stride), Add: 1,
							Panels: int64(panels), PanelBytes: int64(size)}
						i := 0
						for b.Loop() {
							first := i % (columns / block) * block
							p.A = (*byte)(unsafe.Add(unsafe.Pointer(&a[0]), aBytes*first*tokens*stride/(tokens*columns)*0+aBytes*map[bool]int{true: first, false: first * tokens}[stride == columns]))
							p.W = &weights[i%64*panels*size+PanelBytes(f, first)]
							i++
							kernel(&p)
						}
						b.ReportMetric(float64(Rows*panels*tokens*block)*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "MAC/ns")
					})
				}
			}
			for _, panels := range []int{1, 4} {
				b.Run(fmt.Sprintf("%s/%s/decode/panels=%d", s.Name, name, panels), func(b *testing.B) {
					setup()
					b.RunParallel(func(pb *testing.PB) {
						out := make([]float32, Rows*panels)
						p := Product{Out: &out[0], A: (*byte)(unsafe.Pointer(&a[0])), T: 1, Blocks: columns, Panels: int64(panels), PanelBytes: int64(size)}
						next := rand.IntN(768 / panels)
						for pb.Next() {
							p.W = &weights[next*panels*size]
							next = (next + 1) % (768 / panels)
							kernel(&p)
						}
					})
					b.SetBytes(int64(panels * size))
				})
			}
		}
		for _, k := range floatKernels(s) {
			bench(k.name, k.format, k.activationBytes, k.run)
		}
	}
}
