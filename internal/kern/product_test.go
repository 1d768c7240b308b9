package kern

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"
)

// scaleOffsets are the offsets of the float16 scales and minima in a block: where the portable product finds a NaN.
var scaleOffsets = func() (all [NumFormats][]int) {
	a := make([]byte, A256Bytes)
	out := make([]float32, Rows)
	for f := range NumFormats {
		if isFloat(f) || hasTable(f) {
			continue
		}
		for at := 0; at < Layouts[f].BlockBytes(); at += 2 {
			row := make([]byte, Layouts[f].BlockBytes())
			binary.LittleEndian.PutUint16(row[at:], 0x7e00)
			panel := make([]byte, Rows*len(row))
			generic.interleave(f, panel, row, 1)
			generic.Products[f](&Product{Out: &out[0], W: &panel[0], A: &a[0], T: 1, Blocks: 1, OutStride: 4 * Rows,
				Panels: 1})
			if math.IsNaN(float64(out[0])) {
				all[f] = append(all[f], at)
			}
		}
	}
	return all
}()

func isFloat(f Format) bool { return f <= BF16 }

// hasTable reports whether the format takes codes from Product.Table. Its d is a float32, the first value of a block.
func hasTable(f Format) bool { return f == Table32 || f == Table16 }

// fewOf returns the most that Product.Few may be.
func fewOf(f Format) int {
	sets := Sets()
	return sets[len(sets)-1].Few[f]
}

// testTable has the least and the greatest code, and some between.
var testTable = [16]uint8{0, 1, 17, 255, 254, 128, 127, 129, 15, 16, 99, 240, 64, 200, 33, 140}

// recordBytes returns the size of a token's record for a block of the format.
func recordBytes(f Format) int {
	if Layouts[f].Cols == 256 {
		return A256Bytes
	}
	return A32Bytes
}

// RandomBlocks fills b with blocks of random bytes with finite scales, zero and
// subnormal ones among them, or with values of a float format.
func RandomBlocks(r *rand.Rand, f Format, b []byte) {
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	switch f {
	case F32:
		for ; len(b) > 0; b = b[4:] {
			binary.LittleEndian.PutUint32(b, math.Float32bits(randomFloat(r)))
		}
	case F16:
		for ; len(b) > 0; b = b[2:] {
			binary.LittleEndian.PutUint16(b, randomF16(r))
		}
	case BF16:
		for ; len(b) > 0; b = b[2:] {
			binary.LittleEndian.PutUint16(b, uint16(math.Float32bits(randomFloat(r))>>16))
		}
	case Table32, Table16:
		for ; len(b) > 0; b = b[Layouts[f].BlockBytes():] {
			binary.LittleEndian.PutUint32(b, math.Float32bits(randomFloat(r)))
		}
	default:
		for ; len(b) > 0; b = b[Layouts[f].BlockBytes():] {
			for _, at := range scaleOffsets[f] {
				binary.LittleEndian.PutUint16(b[at:], randomF16(r))
			}
		}
	}
}

// randomFloat returns a value around 1, or rarely 0 or a subnormal.
func randomFloat(r *rand.Rand) float32 {
	switch r.IntN(40) {
	case 0:
		return 0
	case 1:
		return math.Float32frombits(r.Uint32() &^ (0xff << 23))
	}
	return float32(r.NormFloat64() * math.Exp(r.NormFloat64()))
}

// randomF16 returns a finite float16, mostly around 2⁻⁸.
func randomF16(r *rand.Rand) uint16 {
	if r.IntN(8) == 0 {
		return uint16(r.UintN(31<<10) | r.UintN(2)<<15)
	}
	return uint16(r.UintN(1<<10) | (4+r.UintN(6))<<10 | r.UintN(2)<<15)
}

// extremeBlocks fills b with blocks of which every byte but the scales' is v.
func extremeBlocks(f Format, b []byte, v byte, scale uint16) {
	for i := range b {
		b[i] = v
	}
	for ; len(b) > 0; b = b[Layouts[f].BlockBytes():] {
		for _, at := range scaleOffsets[f] {
			binary.LittleEndian.PutUint16(b[at:], scale)
		}
		if hasTable(f) {
			binary.LittleEndian.PutUint32(b, math.Float32bits(getF16([]byte{byte(scale), byte(scale >> 8)})))
		}
	}
}

// RandomRecord fills b with the record of a token for a block of a quantized
// format and returns the 32 or 256 values that it stands for.
func RandomRecord(r *rand.Rand, b []byte) []float64 {
	q := make([]int8, 32)
	if len(b) == A256Bytes {
		q = make([]int8, 256)
	}
	kind := r.IntN(8)
	for i := range q {
		switch kind {
		default:
			q[i] = int8(r.IntN(255) - 127)
		case 1:
			q[i] = 127
		case 2:
			q[i] = -127
		case 3:
			q[i] = int8(254*(i%2) - 127)
		case 4:
			q[i] = int8(254*r.IntN(2) - 127)
		}
	}
	d := float32(math.Exp(r.NormFloat64()*2 - 4))
	if kind == 0 {
		clear(q)
		d = 0
	}
	sum := func(at, n int) (s int16) {
		for _, v := range q[at : at+n] {
			s += int16(v)
		}
		return s
	}
	for i, v := range q {
		b[i] = byte(v)
	}
	if len(q) == 32 {
		binary.LittleEndian.PutUint32(b[32:], math.Float32bits(d))
		binary.LittleEndian.PutUint32(b[36:], math.Float32bits(d*float32(sum(0, 32))))
	} else {
		for g := range 16 {
			binary.LittleEndian.PutUint16(b[256+2*g:], uint16(sum(16*g, 16)))
		}
		for g := range 8 {
			binary.LittleEndian.PutUint16(b[288+2*g:], uint16(sum(32*g, 32)))
		}
		binary.LittleEndian.PutUint32(b[304:], math.Float32bits(d))
	}
	x := make([]float64, len(q))
	for i := range x {
		x[i] = float64(d) * float64(q[i])
	}
	return x
}

// operands are what a call of a product reads.
type operands struct {
	f          Format
	blocks     int // as in Product: columns for the float formats
	tokens     int
	panels     int
	panelBytes int // from a panel to the next
	w, a       []byte
	aStride    int
	add        bool
	start      []float32 // what Out holds before, 16·panels results a token
}

// randomOperands mixes random rows with extreme ones. Panels, tokens and blocks
// have gaps between them where strides allow it.
func randomOperands(r *rand.Rand, f Format, blocks, tokens, panels int) *operands {
	cols := blocks
	if !isFloat(f) {
		cols *= Layouts[f].Cols
	}
	size := PanelBytes(f, cols)
	o := &operands{f: f, blocks: blocks, tokens: tokens, panels: panels, panelBytes: size}
	if isFloat(f) {
		o.panelBytes += 4 * r.IntN(4)
	}
	o.w = make([]byte, (panels-1)*o.panelBytes+size)
	rows := make([]byte, size)
	for panel := range panels {
		for row := range Rows {
			b := rows[row*size/Rows:][:size/Rows]
			switch k := r.IntN(16); {
			case k == 0 && !isFloat(f):
				extremeBlocks(f, b, 0xff, 0x2c00)
			case k == 1 && !isFloat(f):
				extremeBlocks(f, b, 0x00, 0x7bff)
			case k == 2 && !isFloat(f):
				extremeBlocks(f, b, 0x80, 0xfbff)
			case k == 3 && !isFloat(f):
				extremeBlocks(f, b, 0x7f, 0x0001)
			default:
				RandomBlocks(r, f, b)
			}
		}
		generic.interleave(f, o.w[panel*o.panelBytes:][:size], rows, Rows)
	}
	gap := 4 * r.IntN(4)
	if isFloat(f) {
		o.aStride = 4*blocks + gap
		o.a = make([]byte, (tokens-1)*o.aStride+4*blocks)
		for i := 0; i < len(o.a); i += 4 {
			binary.LittleEndian.PutUint32(o.a[i:], math.Float32bits(randomFloat(r)))
		}
	} else {
		size := recordBytes(f)
		o.aStride = tokens*size + gap
		o.a = make([]byte, (blocks-1)*o.aStride+tokens*size)
		for b := range blocks {
			for t := range tokens {
				at := b*o.aStride + t*size
				RandomRecord(r, o.a[at:at+size])
			}
		}
	}
	o.start = make([]float32, Rows*panels*tokens)
	for i := range o.start {
		o.start[i] = randomFloat(r)
	}
	return o
}

// placement says where operands lie: at the end of a guarded region, or skew
// bytes (activations and results: floats) after its beginning. Results of one
// token and the next have 5·skew floats between them.
type placement struct {
	atEnd bool
	skew  int
}

// arena is guarded memory for the operands of one call after the other.
type arena struct{ w, a, out, scratch []byte }

func newArena(t testing.TB) *arena {
	return &arena{
		w: guardedMemory(t, 1<<20), a: guardedMemory(t, 1<<20), out: guardedMemory(t, 1<<16),
		scratch: guardedMemory(t, ScratchBytes),
	}
}

// place returns n bytes of region.
func (p placement) place(region []byte, n, unit int) []byte {
	at := p.skew * unit
	if p.atEnd {
		at = len(region) - n
	}
	return region[at : at+n : at+n]
}

const untouched = 0x7fc0dead // a NaN

// run calls k and returns 16·panels results a token. It fails if k writes elsewhere.
func (m *arena) run(k func(*Product), o *operands, p placement) ([]float32, error) {
	w, a := p.place(m.w, len(o.w), 1), p.place(m.a, len(o.a), 4)
	copy(w, o.w)
	copy(a, o.a)
	lanes := Rows * o.panels
	outStride := 4*lanes + 20*p.skew
	out := p.place(m.out, (o.tokens-1)*outStride+4*lanes, 4)
	for i := 0; i < len(m.out); i += 4 {
		binary.LittleEndian.PutUint32(m.out[i:], untouched)
	}
	for i := range m.scratch {
		m.scratch[i] = 0xa5
	}
	result := func(i int) []byte { return out[i/lanes*outStride+i%lanes*4:] }
	call := &Product{
		Out: (*float32)(unsafe.Pointer(&out[0])), W: &w[0], A: &a[0], Scratch: &m.scratch[len(m.scratch)-ScratchBytes],
		T: int64(o.tokens), Blocks: int64(o.blocks), OutStride: int64(outStride), AStride: int64(o.aStride),
		Panels: int64(o.panels), PanelBytes: int64(o.panelBytes),
		Table: &testTable, Few: int64(fewOf(o.f) * (p.skew % 2)),
	}
	if o.add {
		call.Add = 1
		for i, v := range o.start {
			binary.LittleEndian.PutUint32(result(i), math.Float32bits(v))
		}
	}
	before := *call
	k(call)
	results := make([]float32, lanes*o.tokens)
	for i := range results {
		u := binary.LittleEndian.Uint32(result(i))
		if u == untouched {
			return nil, fmt.Errorf("token %d row %d: no result", i/lanes, i%lanes)
		}
		results[i] = math.Float32frombits(u)
		binary.LittleEndian.PutUint32(result(i), untouched)
	}
	for i := 0; i < len(m.out); i += 4 {
		if binary.LittleEndian.Uint32(m.out[i:]) != untouched {
			return nil, fmt.Errorf("wrote outside of its results")
		}
	}
	if *call != before || string(w) != string(o.w) || string(a) != string(o.a) {
		return nil, fmt.Errorf("changed its input")
	}
	return results, nil
}

// sameBits says where results differ. NaNs count as equal: their bits are the CPU's own.
func (o *operands) sameBits(got, want []float32) error {
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) && (got[i] == got[i] || want[i] == want[i]) {
			lanes := Rows * o.panels
			return fmt.Errorf("token %d row %d: %v (%#x), want %v (%#x)", i/lanes, i%lanes,
				got[i], math.Float32bits(got[i]), want[i], math.Float32bits(want[i]))
		}
	}
	return nil
}

// distinct calls use with each different kernel for a format, the names of the sets that have it, and the least number
// of tokens that it is for.
func distinct(f Format, use func(names string, k func(*Product), least int)) {
	names, least := map[uintptr][]string{}, map[uintptr]int{}
	var order []func(*Product)
	for _, s := range Sets() {
		for u := range NumUses {
			k := s.kernel(f, u)
			code := codeOf(k)
			if names[code] == nil {
				order = append(order, k)
				least[code] = []int{1, 1, 1, LeastMany}[u]
			}
			if !slices.Contains(names[code], s.Name) {
				names[code] = append(names[code], s.Name)
			}
		}
	}
	for _, k := range order {
		use(strings.Join(names[codeOf(k)], "+"), k, least[codeOf(k)])
	}
}

var placements = []placement{{atEnd: true}, {skew: 0}, {skew: 1}, {skew: 3}, {atEnd: true, skew: 1}}

// longRow is more blocks than kernels for few tokens prepare at a time.
const longRow = 261

// Every set computes the same bits as the portable one and touches nothing
// outside of its operands.
func TestProductsAgree(t *testing.T) {
	m := newArena(t)
	for f := range NumFormats {
		sizes := []int{1, 2, 3, 7, 12}
		if isFloat(f) {
			sizes = []int{1, 2, 3, 7, 8, 12, 15, 16, 17, 34, 65, 130}
		} else if Layouts[f].Cols == 32 {
			sizes = append(sizes, longRow)
		}
		distinct(f, func(names string, k func(*Product), least int) {
			t.Run(f.String()+"/"+names, func(t *testing.T) {
				r := rand.New(rand.NewPCG(3, uint64(f)))
				round := 0
				for _, blocks := range sizes {
					if f == BF16 && blocks%2 == 1 {
						blocks++
					}
					for _, tokens := range []int{1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 48, 80, 99} {
						if tokens < least {
							continue
						}
						if blocks == longRow && tokens > max(5, least) || blocks == 7 && tokens > 48 {
							break
						}
						panels := 1
						if isFloat(f) || tokens == 1 {
							panels += r.IntN(6)
						}
						o := randomOperands(r, f, blocks, tokens, panels)
						o.add = isFloat(f) && round/2%2 == 1
						want, err := m.run(generic.Products[f], o, placement{})
						if err != nil {
							t.Fatal("generic:", err)
						}
						for range 2 {
							p := placements[round%len(placements)]
							round++
							got, err := m.run(k, o, p)
							if err == nil {
								err = o.sameBits(got, want)
							}
							if err != nil {
								t.Fatalf("%d blocks, %d tokens, %d panels, add %v, %+v: %v", blocks, tokens, panels,
									o.add, p, err)
							}
						}
					}
				}
			})
		})
	}
}

// Every form of every set computes the same bits as the portable set.
func TestFormsAgree(t *testing.T) {
	m := newArena(t)
	for _, s := range Sets() {
		for f := range NumFormats {
			for u := range NumUses {
				forms := formsOf(s, f, u)
				r := rand.New(rand.NewPCG(uint64(f), uint64(u)))
				for round := range 4 {
					tokens, panels := 1, 1+r.IntN(6)
					switch u {
					case Few:
						tokens = 2 + r.IntN(max(1, fewOf(f)-1))
					case Several:
						tokens = 2 + r.IntN(9)
					case Many:
						tokens = LeastMany + r.IntN(70)
					}
					if (u > Few || u == Few && round%2 == 0) && !isFloat(f) {
						panels = 1
					}
					o := randomOperands(r, f, 2+2*r.IntN(5), tokens, panels)
					o.add = isFloat(f) && round%2 == 1
					want, err := m.run(generic.Products[f], o, placement{})
					if err != nil {
						t.Fatal("generic:", err)
					}
					for _, form := range forms {
						if panels > 1 && !isFloat(f) && !form.Panels(tokens) {
							continue
						}
						multiply := func(p *Product) {
							call := *p
							form.Multiply(&call)
						}
						got, err := m.run(multiply, o, placements[round])
						if err == nil {
							err = o.sameBits(got, want)
						}
						if err != nil {
							t.Fatalf("%s, %s, %s, form %s: %v", s.Name, f, u, form, err)
						}
					}
				}
			}
		}
	}
}

// A set's forms begin with the default and have every name once; the sets below it are among them.
func TestForms(t *testing.T) {
	defer func() { _ = Select("") }()
	for _, s := range Sets() {
		if err := Select(s.Name); err != nil {
			t.Fatal(err)
		}
		for f := range NumFormats {
			for u := range NumUses {
				names := map[string]bool{}
				for _, form := range Forms(f, u) {
					if names[form.String()] {
						t.Errorf("%s, %s, %s: form %s is there twice", s.Name, f, u, form)
					}
					names[form.String()] = true
					if find(form.Set).level() > s.level() {
						t.Errorf("%s, %s, %s: form %s is of a higher set", s.Name, f, u, form)
					}
				}
				if codeOf(s.kernel(f, u)) != codeOf(Forms(f, u)[0].kernel) {
					t.Errorf("%s, %s, %s: the default %s is another set's", s.Name, f, u, Forms(f, u)[0])
				}
				if first := Forms(f, u)[0].String(); InUse(f, u).String() != first {
					t.Errorf("%s, %s, %s: %s is in use, the default is %s", s.Name, f, u, InUse(f, u), first)
				}
			}
		}
	}
}

// The system saves a thread's registers, tiles among them, when a signal arrives or another thread takes the core.
func TestProductsAreInterrupted(t *testing.T) {
	for _, f := range []Format{Q4_K, Q4_0} {
		o := randomOperands(rand.New(rand.NewPCG(9, uint64(f))), f, 12, 99, 1)
		want, err := newArena(t).run(generic.Products[f], o, placement{})
		if err != nil {
			t.Fatal(err)
		}
		kernel := Best().kernel(f, Many)
		var done sync.WaitGroup
		for range 2 * runtime.GOMAXPROCS(0) {
			m := newArena(t)
			done.Go(func() {
				for range 30 {
					got, err := m.run(kernel, o, placement{})
					if err == nil {
						err = o.sameBits(got, want)
					}
					if err != nil {
						t.Errorf("%s: %v", f, err)
						return
					}
				}
			})
		}
		stopped := make(chan bool)
		go func() { done.Wait(); close(stopped) }()
		for running := true; running; {
			runtime.GC() // stops all threads by signals
			select {
			case <-stopped:
				running = false
			default:
			}
		}
	}
}

// Results do not depend on how the tokens are split over calls.
func TestProductTokensAreIndependent(t *testing.T) {
	m := newArena(t)
	r := rand.New(rand.NewPCG(5, 6))
	for f := range NumFormats {
		distinct(f, func(names string, k func(*Product), least int) {
			o := randomOperands(r, f, 4, 10+2*least, 1)
			want, err := m.run(k, o, placement{})
			if err != nil {
				t.Fatal(err)
			}
			size := recordBytes(f)
			if isFloat(f) {
				size = o.aStride
			}
			for first, n := 0, least; first < o.tokens; first, n = first+n, n+1 {
				if left := o.tokens - first; left < n+least {
					n = left
				}
				part := *o
				part.a, part.tokens = o.a[first*size:], n
				got, err := m.run(k, &part, placement{})
				if err == nil {
					err = o.sameBits(got, want[Rows*first:Rows*(first+n)])
				}
				if err != nil {
					t.Errorf("%s/%s: tokens from %d, %d of them: %v", f, names, first, n, err)
				}
			}
		})
	}
}

// ProductBF16 touches nothing outside of its operands, wherever they lie.
func TestProductBF16Bounds(t *testing.T) {
	m := newArena(t)
	r := rand.New(rand.NewPCG(7, 8))
	for _, s := range Sets() {
		if s.ProductBF16 == nil {
			t.Logf("%s has no product of bfloat16 activations", s.Name)
			continue
		}
		for panels := 1; panels < 9; panels++ {
			for tokens := 1; tokens < 20; tokens++ {
				cols := 2 + 2*r.IntN(30)
				o := randomOperands(r, BF16, cols, tokens, panels)
				o.add = tokens%2 == 1
				o.aStride = 2*cols + 4*r.IntN(3)
				o.a = make([]byte, (tokens-1)*o.aStride+2*cols)
				RandomBlocks(r, BF16, o.a)
				var want []float32
				for _, p := range placements {
					got, err := m.run(s.ProductBF16, o, p)
					if want == nil {
						want = got
					}
					if err == nil {
						err = o.sameBits(got, want)
					}
					if err != nil {
						t.Fatalf("%s: %d panels, %d tokens, %d columns, %+v: %v", s.Name, panels, tokens, cols, p, err)
					}
				}
			}
		}
	}
}

// fma32 agrees with exact arithmetic rounded once.
func TestFMA32(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	minus0 := negativeZero()
	tiny, top := float32(math.SmallestNonzeroFloat32), float32(math.MaxFloat32)
	for _, c := range []struct{ a, b, c, want float32 }{
		{0, 1, minus0, 0}, {minus0, 1, minus0, minus0}, {0, -1, minus0, minus0}, {1, -1, 1, 0}, {minus0, 1, 0, 0},
		{inf, 1, 1, inf}, {inf, 0, 1, nan}, {inf, 1, -inf, nan}, {1, 1, -inf, -inf}, {nan, 1, 1, nan}, {1, 1, nan, nan},
		{top, top, -inf, -inf}, {top, top, 0, inf}, {top, -top, top, -inf}, {top, 2, -top, top},
		{tiny, tiny, 0, 0}, {tiny, -tiny, 0, minus0}, {tiny, tiny, 1, 1}, {tiny, 0.5, 0, 0},
		{tiny, 0.5, tiny, 2 * tiny}, {tiny, 0.75, 0, tiny},
		{tiny, tiny, top, top}, {1, 0x1p127, top, inf}, {1, 0x1p103, top, inf}, {1, 0x1.fffffep102, top, top},
		{1 + 0x1p-23, 1 - 0x1p-23, -1, -0x1p-46},
		{1, 0x1p-24, 1, 1}, {1 + 0x1p-23, 0x1p-24, 1, 1 + 0x1p-23}, // halfway, and a little more
		{1 + 0x1p-12, 0x1p-24 - 0x1p-36, 1, 1}, // halfway less 2⁻⁴⁸
	} {
		got := fma32(c.a, c.b, c.c)
		if math.Float32bits(got) != math.Float32bits(c.want) && (got == got || c.want == c.want) {
			t.Errorf("fma32(%g, %g, %g) = %g, want %g", c.a, c.b, c.c, got, c.want)
		}
	}

	r := rand.New(rand.NewPCG(9, 10))
	finite := func() float32 {
		for {
			if x := math.Float32frombits(r.Uint32()); abs(x) <= top {
				return x
			}
		}
	}
	near := func(exponent int) float32 { // few bits, so that many sums are halfway cases
		return float32(math.Ldexp(float64(1+r.IntN(31))/16+float64(r.IntN(3)-1)*0x1p-23, exponent))
	}
	exact := func(x float32) *big.Float { return new(big.Float).SetPrec(1200).SetFloat64(float64(x)) }
	for i := range 60000 {
		a, b, c := finite(), finite(), finite()
		switch i % 3 {
		case 1:
			e := r.IntN(120) - 60
			a, b, c = near(e), near(r.IntN(60)-30-e), near(r.IntN(60)-30)
		case 2: // around the least normal value
			e := r.IntN(120) - 60
			a, b, c = near(e), near(-140+r.IntN(30)-e), near(-140+r.IntN(30))
		}
		if r.IntN(2) == 0 {
			a = -a
		}
		z := exact(a)
		z.Add(z.Mul(z, exact(b)), exact(c))
		want, _ := z.Float32()
		if got := fma32(a, b, c); got != want || (z.Sign() != 0 && math.Signbit(float64(got)) != z.Signbit()) {
			t.Fatalf("fma32(%g, %g, %g) = %g, want %g", a, b, c, got, want)
		}
	}
}

// Every form's products of one token and of several with panels out of memory, beside plain reading.
func BenchmarkProduct(b *testing.B) {
	const (
		cols   = 3072
		single = 16        // panels in a call for one token
		memory = 128 << 20 // far more than caches hold
	)
	b.Run("read", func(b *testing.B) {
		const piece = 1 << 20
		w := make([]byte, memory)
		for i := range w { // pages that were never written may all be one
			w[i] = byte(i)
		}
		b.SetBytes(piece)
		at := 0
		for b.Loop() {
			Best().Read(w[at : at+piece])
			at = (at + piece) % memory
		}
	})
	scratch := NewScratch()
	for f := range NumFormats {
		blocks := cols / Layouts[f].Cols
		aBytes := recordBytes(f) * blocks
		if isFloat(f) {
			blocks, aBytes = cols, 4*cols
		}
		size := PanelBytes(f, cols)
		panels := memory / size / single * single
		var w []byte
		a := make([]byte, 256*aBytes)
		out := make([]float32, 256*Rows)
		for _, tokens := range []int{1, 2, 3, 4, 8, 16, 256} {
			use := Several
			switch {
			case tokens == 1:
				use = Single
			case tokens <= FewTokens(f):
				use = Few
			case tokens >= LeastMany:
				use = Many
			}
			for _, form := range Forms(f, use) {
				b.Run(fmt.Sprintf("%s/T=%d/%s", f, tokens, form), func(b *testing.B) {
					if w == nil { // of use only to a benchmark that runs
						w = make([]byte, panels*size)
						r := rand.New(rand.NewPCG(1, 2))
						RandomBlocks(r, f, w[:size])
						for n := size; n < len(w); n *= 2 {
							copy(w[n:], w[:n])
						}
					}
					p := &Product{Out: &out[0], A: &a[0], Scratch: scratch, T: int64(tokens), Blocks: int64(blocks),
						OutStride: 4 * Rows, Panels: 1, PanelBytes: int64(size), Table: &testTable}
					p.AStride = int64(tokens * recordBytes(f))
					if isFloat(f) {
						p.AStride = int64(aBytes)
					}
					if tokens == 1 {
						p.Panels = single
					}
					b.SetBytes(p.Panels * int64(size))
					panel := 0
					for b.Loop() {
						p.W = &w[panel*size]
						form.Multiply(p)
						panel = (panel + int(p.Panels)) % panels
					}
					if tokens > 1 {
						b.ReportMetric(float64(Rows*cols*tokens)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GMAC/s")
					}
				})
			}
		}
	}
}
