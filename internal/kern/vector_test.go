package kern

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/x448/float16"
)

// vectorMemory gives slices each in a region of its own, whose other bytes are the
// same in every run and must stay so. Half of the slices end where the region does,
// before a page that must not be touched.
type vectorMemory struct {
	regions [4][]byte
	used    int
	r       *rand.Rand
}

func newVectorMemory(t testing.TB) *vectorMemory {
	m := new(vectorMemory)
	for i := range m.regions {
		m.regions[i] = guardedMemory(t, 24<<10)
	}
	return m
}

// begin forgets all slices; the same seed gives the same slices again.
func (m *vectorMemory) begin(seed uint64) {
	m.r = rand.New(rand.NewPCG(seed, 7))
	m.used = 0
	for _, region := range m.regions {
		for i := range region {
			region[i] = 0xa5
		}
	}
}

func place[T any](m *vectorMemory, n int) []T {
	region := m.regions[m.used]
	m.used++
	size := int(unsafe.Sizeof(*new(T)))
	end := len(region)
	if m.r.IntN(2) == 0 {
		end -= m.r.IntN(64) * size
	}
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&region[end-n*size])), n)
}

// floats returns n values of one of the kinds that may need care.
func (m *vectorMemory) floats(n int) []float32 {
	x := place[float32](m, n)
	kind := m.r.IntN(12)
	scale := math.Exp(3 * m.r.NormFloat64())
	for i := range x {
		v := float32(m.r.NormFloat64() * scale)
		switch kind {
		case 0:
			v = 0
		case 1:
			v *= 1e-30
		case 2:
			v *= 1e-38 // partly subnormal
		case 3:
			v *= 1e-42 // subnormal
		case 4:
			v *= 1e30
		case 5:
			v *= 1e38 // partly infinite
		case 6:
			v = negativeZero()
		case 7:
			if m.r.IntN(8) > 0 {
				v = 0
			}
		case 8:
			v = float32(m.r.IntN(255)-127) / 2 // ties
		}
		x[i] = v
	}
	if kind == 9 && n > 0 {
		x[m.r.IntN(n)] = float32(math.Exp(40 * m.r.NormFloat64()))
	}
	return x
}

// spoiled is floats with a NaN or an infinity among them.
func (m *vectorMemory) spoiled(n int) []float32 {
	x := m.floats(n)
	if n > 0 {
		bits := []uint32{0x7fc00000, 0xffc001ff, 0x7f8001ff, 0x7f800000, 0xff800000}
		x[m.r.IntN(n)] = math.Float32frombits(bits[m.r.IntN(len(bits))])
	}
	return x
}

func (m *vectorMemory) codes(n int) []int8 {
	q := place[int8](m, n)
	for i := range q {
		q[i] = int8(m.r.IntN(256) - 128)
	}
	return q
}

// vectorCases call each kernel with n elements, n a multiple of 16, or, where any
// length will do, somewhat fewer.
var vectorCases = []struct {
	name    string
	records bool // the results are not float32
	run     func(v *Vector, m *vectorMemory, n int)
}{
	{"RMSNorm", false, func(v *Vector, m *vectorMemory, n int) {
		v.RMSNorm(m.floats(n), m.floats(n), m.floats(n), n, 1e-5)
	}},
	{"RMSNorm/in place", false, func(v *Vector, m *vectorMemory, n int) {
		x := m.floats(n)
		v.RMSNorm(x, x, m.floats(n), n-n/16, 1e-6)
	}},
	{"RMSNorm/not finite", false, func(v *Vector, m *vectorMemory, n int) {
		v.RMSNorm(m.floats(n), m.spoiled(n), m.floats(n), n, 1e-5)
	}},
	{"LayerNorm", false, func(v *Vector, m *vectorMemory, n int) {
		v.LayerNorm(m.floats(n), m.floats(n), m.floats(n), m.floats(n), n, 1e-5)
	}},
	{"LayerNorm/in place", false, func(v *Vector, m *vectorMemory, n int) {
		x := m.floats(n)
		v.LayerNorm(x, x, m.floats(n), m.floats(n), n-n/16, 1e-6)
	}},
	{"LayerNorm/not finite", false, func(v *Vector, m *vectorMemory, n int) {
		v.LayerNorm(m.floats(n), m.spoiled(n), m.floats(n), m.floats(n), n, 1e-5)
	}},
	{"Softmax", false, func(v *Vector, m *vectorMemory, n int) { softmaxCase(v, m, m.floats(n)) }},
	{"Softmax/not finite", false, func(v *Vector, m *vectorMemory, n int) { softmaxCase(v, m, m.spoiled(n)) }},
	{"SiluMul", false, func(v *Vector, m *vectorMemory, n int) { v.SiluMul(m.floats(n), m.floats(n), m.floats(n)) }},
	{"SiluMul/in place", false, func(v *Vector, m *vectorMemory, n int) {
		x := m.floats(n)
		v.SiluMul(x, x, m.floats(n))
	}},
	{"SiluMul/not finite", false, func(v *Vector, m *vectorMemory, n int) {
		v.SiluMul(m.floats(n), m.spoiled(n), m.floats(n))
	}},
	{"Gelu", false, func(v *Vector, m *vectorMemory, n int) { v.Gelu(m.floats(n), m.floats(n)) }},
	{"Gelu/in place", false, func(v *Vector, m *vectorMemory, n int) {
		x := m.floats(n)
		v.Gelu(x, x)
	}},
	{"Gelu/not finite", false, func(v *Vector, m *vectorMemory, n int) { v.Gelu(m.floats(n), m.spoiled(n)) }},
	{"Gegelu", false, func(v *Vector, m *vectorMemory, n int) {
		v.Gegelu(m.floats(n), m.floats(n), m.floats(n), 0.5)
	}},
	{"Gegelu/in place", false, func(v *Vector, m *vectorMemory, n int) {
		up := m.floats(n)
		v.Gegelu(up, m.floats(n), up, 20)
	}},
	{"Gegelu/not finite", false, func(v *Vector, m *vectorMemory, n int) {
		v.Gegelu(m.floats(n), m.spoiled(n), m.spoiled(n), 3)
	}},
	{"Gegelu/no limit", false, func(v *Vector, m *vectorMemory, n int) {
		v.Gegelu(m.floats(n), m.spoiled(n), m.spoiled(n), float32(math.Inf(1)))
	}},
	{"Sigmoid", false, func(v *Vector, m *vectorMemory, n int) { v.Sigmoid(m.floats(n), m.floats(n)) }},
	{"Sigmoid/not finite", false, func(v *Vector, m *vectorMemory, n int) {
		x := m.spoiled(n)
		v.Sigmoid(x, x)
	}},
	{"Rope", false, func(v *Vector, m *vectorMemory, n int) {
		n -= min(n, m.r.IntN(20))
		v.Rope(m.floats(2*n), m.floats(n), m.floats(n))
	}},
	{"Add", false, func(v *Vector, m *vectorMemory, n int) { v.Add(m.floats(n), m.floats(n)) }},
	{"AddSum", false, func(v *Vector, m *vectorMemory, n int) { v.AddSum(m.floats(n), m.floats(n), m.floats(n)) }},
	{"Quantize256", true, func(v *Vector, m *vectorMemory, n int) {
		quantizeCase(v.Quantize256, m, n, 256, A256Bytes)
	}},
	{"Quantize32", true, func(v *Vector, m *vectorMemory, n int) { quantizeCase(v.Quantize32, m, n, 32, A32Bytes) }},
	{"ToF16", true, func(v *Vector, m *vectorMemory, n int) {
		n -= min(n, m.r.IntN(20))
		v.ToF16(place[uint16](m, n), m.spoiled(n))
	}},
	{"ToBF16", true, func(v *Vector, m *vectorMemory, n int) {
		n -= min(n, m.r.IntN(20))
		v.ToBF16(place[uint16](m, n), m.spoiled(n))
	}},
	{"ExpandF16", true, func(v *Vector, m *vectorMemory, n int) {
		n -= min(n, m.r.IntN(20))
		x := place[uint16](m, n)
		for i := range x {
			x[i] = uint16(m.r.Uint32())
		}
		v.ExpandF16(m.floats(n), x)
	}},
	{"ExpandPairs", true, func(v *Vector, m *vectorMemory, n int) {
		x := place[uint32](m, n)
		for i := range x {
			x[i] = m.r.Uint32()
		}
		v.ExpandPairs(m.floats(2*n), x)
	}},
	{"ScaleLanes", false, func(v *Vector, m *vectorMemory, n int) {
		v.ScaleLanes(m.floats(n), m.codes(n), (*[16]float32)(m.floats(16)))
	}},
	{"ScaleRows", false, func(v *Vector, m *vectorMemory, n int) {
		v.ScaleRows(m.floats(n), m.codes(n), m.floats(n/16))
	}},
}

func softmaxCase(v *Vector, m *vectorMemory, x []float32) {
	if len(x) == 0 {
		return
	}
	lo, hi := 0, len(x)
	if m.r.IntN(4) > 0 {
		lo = m.r.IntN(len(x))
		hi = lo + 1 + m.r.IntN(len(x)-lo)
	}
	v.Softmax(x, lo, hi, float32(math.Exp(m.r.NormFloat64())))
}

func quantizeCase(quantize func([]byte, []float32, int), m *vectorMemory, n, block, size int) {
	n -= n % block
	x := place[float32](m, n)
	for b := 0; b < n; b += block {
		m.used = 1
		part := m.floats // each block of its own kind
		if m.r.IntN(8) == 0 {
			part = m.spoiled
		}
		copy(x[b:], part(block))
	}
	m.used = 1
	stride := size + 4*m.r.IntN(8)
	quantize(place[byte](m, max(0, (n/block-1)*stride+size)), x, stride)
}

// Every set gives the same bits as the portable one and touches the same memory.
func TestVectorsAgree(t *testing.T) {
	rounds := 300
	if testing.Short() {
		rounds = 60
	}
	m := newVectorMemory(t)
	var want [len(m.regions)][]byte
	for _, c := range vectorCases {
		for round := range rounds {
			n := 16 * (round % 9)
			if round%5 == 0 {
				n = 256 * (round % 8)
			}
			m.begin(uint64(round))
			c.run(&generic.Vector, m, n)
			for i, region := range m.regions {
				want[i] = append(want[i][:0], region...)
			}
			for _, s := range Sets()[1:] {
				m.begin(uint64(round))
				c.run(&s.Vector, m, n)
				for i, region := range m.regions {
					if bytes.Equal(region, want[i]) {
						continue
					}
					if err := sameFloats(region, want[i], c.records); err != nil {
						t.Errorf("%s %s, n %d, round %d, slice %d: %v", s.Name, c.name, n, round, i, err)
					}
				}
			}
		}
	}
}

// sameFloats compares memory; where float32 are expected, a NaN is as good as another.
func sameFloats(got, want []byte, exact bool) error {
	for i := 0; i < len(got); i += 4 {
		g, w := binary.LittleEndian.Uint32(got[i:]), binary.LittleEndian.Uint32(want[i:])
		a, b := math.Float32frombits(g), math.Float32frombits(w)
		if g != w && (exact || a == a || b == b) {
			return fmt.Errorf("%#08x (%g) at byte %d of %d, want %#08x (%g)", g, a, i, len(got), w, b)
		}
	}
	return nil
}

// The exp of every set, seen through its users, takes the same steps over its range.
func TestExpAgrees(t *testing.T) {
	const n = 1024
	want, got := make([]float32, n), make([]float32, n)
	for first := float32(0); first > -104; first -= 0.25 {
		for i := range want {
			want[i] = first - float32(i)/(4*n)
		}
		want[0] = 0
		want[1], want[2] = expLow, math.Nextafter32(expLow, -100)
		in := append([]float32(nil), want...)
		generic.Softmax(want, 0, n, 1)
		for _, s := range Sets()[1:] {
			copy(got, in)
			s.Softmax(got, 0, n, 1)
			for i := range got {
				if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
					t.Fatalf("%s: exp(%v) became %g, want %g", s.Name, in[i], got[i], want[i])
				}
			}
		}
	}
	for i := range want { // around the upper end, SiluMul
		want[i] = math.Float32frombits(math.Float32bits(-expHigh) - n/2 + uint32(i))
	}
	in, ones := append([]float32(nil), want...), make([]float32, n)
	for i := range ones {
		ones[i] = 1
	}
	generic.SiluMul(want, in, ones)
	for _, s := range Sets()[1:] {
		s.SiluMul(got, in, ones)
		for i := range got {
			if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
				t.Fatalf("%s: silu(%v) = %g, want %g", s.Name, in[i], got[i], want[i])
			}
		}
	}
}

// exp is within 1 ulp, and right at its ends.
func TestExp(t *testing.T) {
	var worst float64
	step := uint64(2039)
	if testing.Short() {
		step = 20011
	}
	for u := uint64(0); u < 1<<32; u += step {
		x := math.Float32frombits(uint32(u))
		got, want := exp(x), math.Exp(float64(x))
		switch {
		case x != x:
			if got == got {
				t.Fatalf("exp(NaN) = %v", got)
			}
		case x < expLow:
			if math.Float32bits(got) != 0 {
				t.Fatalf("exp(%v) = %v, want 0", x, got)
			}
		case x > expHigh:
			if !math.IsInf(float64(got), 1) {
				t.Fatalf("exp(%v) = %v, want infinity", x, got)
			}
		default:
			_, e := math.Frexp(want)
			worst = max(worst, math.Abs(float64(got)-want)/math.Ldexp(1, e-24))
		}
	}
	if worst > 0.9 {
		t.Errorf("error of %.3f ulp", worst)
	}
	up := func(x float32) float32 { return math.Nextafter32(x, float32(math.Inf(1))) }
	down := func(x float32) float32 { return math.Nextafter32(x, float32(math.Inf(-1))) }
	for _, c := range []struct{ x, want float32 }{
		{0, 1}, {negativeZero(), 1}, {1e-30, 1}, {-1e-45, 1},
		{float32(math.Inf(-1)), 0}, {float32(math.Inf(1)), float32(math.Inf(1))},
		{down(expLow), 0}, {expLow, 0x1.00004cp-126}, {up(expHigh), float32(math.Inf(1))},
	} {
		if got := exp(c.x); math.Float32bits(got) != math.Float32bits(c.want) {
			t.Errorf("exp(%v) = %x, want %x", c.x, got, c.want)
		}
	}
	if got := exp(expHigh); math.IsInf(float64(got), 0) || got < 3.4e38 {
		t.Errorf("exp(%v) = %v", float32(expHigh), got)
	}
}

// half is the relative error of a rounding: half the distance from 1 to the next number.
const half = 0x1p-24

func near(t *testing.T, i int, got float32, want, bound float64) {
	t.Helper()
	if d := math.Abs(float64(got) - want); !(d <= bound) {
		t.Fatalf("[%d] = %g, want %g: off by %g, more than %g", i, got, want, d, bound)
	}
}

func checkRMSNorm(t *testing.T, s *Set, x, w []float32) {
	const n = 1000 // and 8 of padding
	dst := make([]float32, len(x))
	clear(x[n:])
	var sum float64
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	s.RMSNorm(dst, x, w, n, 1e-5)
	for i := range x {
		want := float64(x[i]) * float64(w[i]) / math.Sqrt(sum/n+1e-5)
		// 69 roundings before the root, which halves them, 4 after
		near(t, i, dst[i], want, 40*half*math.Abs(want))
	}
}

func checkSoftmax(t *testing.T, s *Set, x []float32) {
	const lo, hi, scale = 5, 500, float32(0.3)
	v := make([]float64, len(x))
	m := math.Inf(-1)
	for i := lo; i < hi; i++ {
		v[i] = float64(scale) * float64(x[i])
		m = max(m, v[i])
	}
	var sum float64
	for i := lo; i < hi; i++ {
		v[i] -= m
		sum += math.Exp(v[i])
	}
	s.Softmax(x, lo, hi, scale)
	for i := range x {
		if i < lo || i >= hi {
			near(t, i, x[i], 0, 0)
			continue
		}
		want := math.Exp(v[i]) / sum
		near(t, i, x[i], want, (3*math.Abs(v[i])+3*math.Abs(m)+50)*half*want)
	}
}

// normal returns a function that makes n normally distributed values.
func normal(r *rand.Rand) func(n int, scale float64) []float32 {
	return func(n int, scale float64) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(r.NormFloat64() * scale)
		}
		return x
	}
}

// The vector kernels do what the doc says, compared with float64.
func TestVectorAccuracy(t *testing.T) {
	random := normal(rand.New(rand.NewPCG(3, 4)))
	for _, s := range Sets() {
		t.Run(s.Name+"/RMSNorm", func(t *testing.T) { checkRMSNorm(t, s, random(1008, 5), random(1008, 1)) })
		t.Run(s.Name+"/Softmax", func(t *testing.T) { checkSoftmax(t, s, random(512, 10)) })
		t.Run(s.Name+"/SiluMul", func(t *testing.T) {
			gate, up, dst := random(4096, 20), random(4096, 1), make([]float32, 4096)
			s.SiluMul(dst, gate, up)
			for i, g := range gate {
				want := float64(g) / (1 + math.Exp(-float64(g))) * float64(up[i])
				near(t, i, dst[i], want, 6*half*math.Abs(want))
			}
		})
		t.Run(s.Name+"/Rope", func(t *testing.T) {
			const n = 48
			x, cos, sin := random(2*n, 1), make([]float32, n), make([]float32, n)
			for i := range cos {
				sn, cs := math.Sincos(float64(i))
				cos[i], sin[i] = float32(cs), float32(sn)
			}
			old := append([]float32(nil), x...)
			s.Rope(x, cos, sin)
			for i := range cos {
				a, b, c, d := float64(old[i]), float64(old[n+i]), float64(cos[i]), float64(sin[i])
				bound := 2 * half * (math.Abs(a) + math.Abs(b))
				near(t, i, x[i], a*c-b*d, bound)
				near(t, n+i, x[n+i], b*c+a*d, bound)
			}
		})
		t.Run(s.Name+"/Quantize256", func(t *testing.T) {
			x := random(512, 3)
			dst := make([]byte, 2*A256Bytes)
			s.Quantize256(dst, x, A256Bytes)
			for b := range 2 {
				var rec A256
				if _, err := binary.Decode(dst[b*A256Bytes:], binary.LittleEndian, &rec); err != nil {
					t.Fatal(err)
				}
				var sum16 [16]int16
				var sum32 [8]int16
				top := float64(0)
				for i, q := range rec.Q {
					v := x[256*b+i]
					near(t, i, rec.D*float32(q), float64(v), float64(rec.D)*0.5001)
					top = max(top, math.Abs(float64(v)))
					sum16[i/16] += int16(q)
					sum32[i/32] += int16(q)
				}
				near(t, 0, rec.D, top/127, top/127*half)
				if sum16 != rec.Sum16 || sum32 != rec.Sum32 {
					t.Fatalf("sums %v %v, want %v %v", rec.Sum16, rec.Sum32, sum16, sum32)
				}
			}
		})
		t.Run(s.Name+"/Quantize32", func(t *testing.T) {
			x := random(32, 3)
			dst := make([]byte, A32Bytes)
			s.Quantize32(dst, x, A32Bytes)
			var rec A32
			if _, err := binary.Decode(dst, binary.LittleEndian, &rec); err != nil {
				t.Fatal(err)
			}
			sum, top := 0, float64(0)
			for i, q := range rec.Q {
				near(t, i, rec.D*float32(q), float64(x[i]), float64(rec.D)*0.5001)
				top = max(top, math.Abs(float64(x[i])))
				sum += int(q)
			}
			near(t, 0, rec.D, top/127, top/127*half)
			if rec.S != rec.D*float32(sum) {
				t.Fatalf("S = %v, want %v·%d", rec.S, rec.D, sum)
			}
		})
	}
}

// A block that has no step: too small, or not finite.
func TestQuantizeSpecial(t *testing.T) {
	nan := math.Float32frombits(0x7fc00000)
	for _, c := range []struct {
		name     string
		top      float32
		code     int8
		wantStep float32
	}{
		{"zero", 0, 0, 0},
		{"least", 1e-45, 0, 0},
		{"below 2^-119", math.Nextafter32(0x1p-119, 0), 0, 0},
		{"2^-119", -0x1p-119, -127, 0x1p-119 / 127.},
		{"greatest", math.MaxFloat32, 127, math.MaxFloat32 / 127.},
		{"infinite", float32(math.Inf(-1)), 0, nan},
		{"NaN", -nan, 0, nan},
	} {
		for _, s := range Sets() {
			x, small, large := make([]float32, 256), make([]byte, A32Bytes), make([]byte, A256Bytes)
			x[17] = c.top
			s.Quantize32(small, x[:32], A32Bytes)
			s.Quantize256(large, x, A256Bytes)
			for _, rec := range []struct{ q, d []byte }{{small[:32], small[32:]}, {large[:256], large[304:]}} {
				if d := binary.LittleEndian.Uint32(rec.d); d != math.Float32bits(c.wantStep) {
					t.Errorf("%s, %s: step %#x, want %#x", s.Name, c.name, d, math.Float32bits(c.wantStep))
				}
				for i, q := range rec.q {
					want := c.code
					if i != 17 {
						want = 0
					}
					if int8(q) != want {
						t.Errorf("%s, %s: code %d = %d, want %d", s.Name, c.name, i, int8(q), want)
					}
				}
			}
		}
	}
}

// Both ways between float16 and float32 against x448/float16, for all of float16 and
// all that rounding meets: its values, the middles between them and their neighbours.
func TestF16(t *testing.T) {
	for _, s := range Sets() {
		all := make([]uint16, 1<<16)
		for i := range all {
			all[i] = uint16(i)
		}
		x := make([]float32, len(all))
		s.ExpandF16(x, all)
		for i, v := range x {
			if want := float16.Frombits(uint16(i)).Float32(); math.Float32bits(v) != math.Float32bits(want) {
				t.Fatalf("%s: %#x became %v, want %v", s.Name, i, v, want)
			}
		}
		var y []float32
		for i, v := range x {
			u := math.Float32bits(v)
			middle := math.Float32bits((v + x[(i+1)%len(x)]) / 2)
			for d := uint32(0); d < 3; d++ {
				y = append(y, math.Float32frombits(u+d-1), math.Float32frombits(middle+d-1))
			}
		}
		y = append(y, 65504, 65519.996, 65520, 1e38, float32(math.Inf(1)))
		dst := make([]uint16, len(y))
		s.ToF16(dst, y)
		for i, v := range y {
			if want := float16.Fromfloat32(v).Bits(); dst[i] != want {
				t.Fatalf("%s: %v (%#x) became %#x, want %#x", s.Name, v, math.Float32bits(v), dst[i], want)
			}
		}
	}
}

// A bfloat16 is the nearer of its neighbours, the even one of equals.
func TestToBF16(t *testing.T) {
	var x []float32
	for u := range uint32(1 << 16) {
		for _, low := range []uint32{0, 1, 0x7fff, 0x8000, 0x8001, 0xffff} {
			x = append(x, math.Float32frombits(u<<16|low))
		}
	}
	for _, s := range Sets() {
		dst := make([]uint16, len(x))
		s.ToBF16(dst, x)
		for i, v := range x {
			u := math.Float32bits(v)
			want := uint16(u >> 16)
			switch low := u & 0xffff; {
			case v != v:
				want |= 0x40
			case low > 0x8000 || low == 0x8000 && want&1 == 1:
				want++
			}
			if dst[i] != want {
				t.Fatalf("%s: %#x became %#x, want %#x", s.Name, u, dst[i], want)
			}
		}
	}
}

func BenchmarkVector(b *testing.B) {
	const n = 4096
	r := rand.New(rand.NewPCG(1, 2))
	x, y, z := make([]float32, n), make([]float32, n), make([]float32, n)
	for i := range x {
		x[i], y[i] = float32(r.NormFloat64()), float32(r.NormFloat64())
	}
	half, records, q := make([]uint16, n), make([]byte, n/32*A32Bytes), make([]int8, n)
	up, scratch, pairs := make([]float32, n), make([]float32, n), make([]uint32, n/2)
	for _, s := range Sets() {
		for _, c := range []struct {
			name string
			run  func()
		}{
			{"GeluBack", func() { copy(z, x); s.GeluBack(z, y, scratch) }},
			{"GegeluBack", func() { copy(z, x); copy(up, y); s.GegeluBack(z, up, x, 20, scratch) }},
			{"LayerNormBack", func() { LayerNormBack(z, x, y, x, 1e-5, true) }},
			{"RMSNorm", func() { s.RMSNorm(z, x, y, n, 1e-5) }},
			{"LayerNorm", func() { s.LayerNorm(z, x, y, y, n, 1e-5) }},
			{"Softmax", func() { copy(z, x); s.Softmax(z, 3, n-3, 0.1) }},
			{"SiluMul", func() { s.SiluMul(z, x, y) }},
			{"Gelu", func() { s.Gelu(z, x) }},
			{"Gegelu", func() { s.Gegelu(z, x, y, 20) }},
			{"Sigmoid", func() { s.Sigmoid(z, x) }},
			{"Rope", func() { s.Rope(z, x[:n/2], y[:n/2]) }},
			{"Add", func() { copy(z, x); s.Add(z, y) }},
			{"AddSum", func() { copy(z, x); s.AddSum(z, x, y) }},
			{"Quantize256", func() { s.Quantize256(records, x, A256Bytes) }},
			{"Quantize32", func() { s.Quantize32(records, x, A32Bytes) }},
			{"ToF16", func() { s.ToF16(half, x) }},
			{"ToBF16", func() { s.ToBF16(half, x) }},
			{"ExpandF16", func() { s.ExpandF16(z, half) }},
			{"ExpandPairs", func() { s.ExpandPairs(z, pairs) }},
			{"ScaleLanes", func() { s.ScaleLanes(z, q, (*[16]float32)(x)) }},
			{"ScaleRows", func() { s.ScaleRows(z, q, x) }},
		} {
			b.Run(s.Name+"/"+c.name, func(b *testing.B) {
				for b.Loop() {
					c.run()
				}
				b.ReportMetric(n*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "elements/ns")
			})
		}
	}
}

// A block becomes what the codes and the scale stand for that every set makes of it.
func TestRoundBlock(t *testing.T) {
	r := rand.New(rand.NewPCG(256, 3))
	for _, s := range Sets() {
		x := make([]float32, 256)
		for i := range x {
			x[i] = float32(3 * r.NormFloat64())
		}
		dst := make([]byte, A256Bytes)
		s.Quantize256(dst, x, A256Bytes)
		var rec A256
		if _, err := binary.Decode(dst, binary.LittleEndian, &rec); err != nil {
			t.Fatal(err)
		}
		RoundBlock(x)
		for i, q := range rec.Q {
			if want := rec.D * float32(q); x[i] != want {
				t.Fatalf("%s: value %d is %g, expected %g", s.Name, i, x[i], want)
			}
		}
	}
}
