package kern

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

func TestMain(m *testing.M) {
	var missing []string
	for _, name := range Names {
		if find(name) == nil {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		fmt.Printf("kern: not tested here, absent from this CPU or build: %s\n", strings.Join(missing, " "))
	}
	os.Exit(m.Run())
}

// The environment variable PHI3CONV_REQUIRE names kernel sets, separated by commas, that must be tested: where the CPU
// or the build does not have one of them, this fails.
func TestRequired(t *testing.T) {
	if err := required(os.Getenv("PHI3CONV_REQUIRE")); err != nil {
		t.Errorf("PHI3CONV_REQUIRE: %v", err)
	}
	if err := required("generic, sse9"); err == nil || !strings.Contains(err.Error(), "sse9") {
		t.Errorf("an unknown set is not missed: %v", err)
	}
}

func required(names string) error {
	for name := range strings.SplitSeq(names, ",") {
		if name = strings.TrimSpace(name); name != "" && find(name) == nil {
			return fmt.Errorf("this CPU or build has no kernels %q, of %s", name, strings.Join(Names, " "))
		}
	}
	return nil
}

// Every set is in the list of names.
func TestNames(t *testing.T) {
	for _, s := range Sets() {
		if !slices.Contains(Names, s.Name) {
			t.Errorf("%s is not in Names", s.Name)
		}
	}
}

// The assembly addresses structs by the numbers in _asm/layout.go and _asm/kernels.go.
func TestLayouts(t *testing.T) {
	var x Tile
	var p Product
	var a256 A256
	var a32 A32
	var u Units
	var f Feedback
	type field struct {
		name      string
		got, want uintptr
	}
	for _, f := range []field{
		{"Tile.W", unsafe.Offsetof(x.W), 2048}, {"Tile.L", unsafe.Offsetof(x.L), 4096},
		{"Tile.Src", unsafe.Offsetof(x.Src), 6144}, {"Tile.Codes", unsafe.Offsetof(x.Codes), 8192},
		{"Tile.Scale", unsafe.Offsetof(x.Scale), 10240}, {"Tile.Min", unsafe.Offsetof(x.Min), 10304},
		{"Tile.SumW", unsafe.Offsetof(x.SumW), 10368}, {"Tile.SumX", unsafe.Offsetof(x.SumX), 10432},
		{"Tile.SumL", unsafe.Offsetof(x.SumL), 10496}, {"Tile.SumXL", unsafe.Offsetof(x.SumXL), 10560},
		{"Tile.SumL2", unsafe.Offsetof(x.SumL2), 10624}, {"Tile.Table", unsafe.Offsetof(x.Table), 10688},
		{"Tile.Steps", unsafe.Offsetof(x.Steps), 10816}, {"Tile.N", unsafe.Offsetof(x.N), 10976},
		{"Tile.NSteps", unsafe.Offsetof(x.NSteps), 10984}, {"Tile.Lo", unsafe.Offsetof(x.Lo), 10992},
		{"Tile.Hi", unsafe.Offsetof(x.Hi), 10996}, {"Tile.C", unsafe.Offsetof(x.C), 11000},
		{"Tile.InvN", unsafe.Offsetof(x.InvN), 11004}, {"Tile.Tiny", unsafe.Offsetof(x.Tiny), 11008},
		{"Tile.Signs", unsafe.Offsetof(x.Signs), 11012}, {"Tile.One", unsafe.Offsetof(x.One), 11016},

		{"Feedback.W", unsafe.Offsetof(f.W), 2048}, {"Feedback.L", unsafe.Offsetof(f.L), 4096},
		{"Feedback.E", unsafe.Offsetof(f.E), 6144}, {"Feedback.Scale", unsafe.Offsetof(f.Scale), 8192},
		{"Feedback.Inv", unsafe.Offsetof(f.Inv), 8256}, {"Feedback.Min", unsafe.Offsetof(f.Min), 8320},
		{"Feedback.Cost", unsafe.Offsetof(f.Cost), 8384}, {"Feedback.U", unsafe.Offsetof(f.U), 8448},
		{"Feedback.D", unsafe.Offsetof(f.D), 8456}, {"Feedback.N", unsafe.Offsetof(f.N), 8464},
		{"Feedback.Lo", unsafe.Offsetof(f.Lo), 8472}, {"Feedback.Hi", unsafe.Offsetof(f.Hi), 8476},

		{"Product.Out", unsafe.Offsetof(p.Out), 0}, {"Product.W", unsafe.Offsetof(p.W), 8},
		{"Product.A", unsafe.Offsetof(p.A), 16}, {"Product.Scratch", unsafe.Offsetof(p.Scratch), 24},
		{"Product.T", unsafe.Offsetof(p.T), 32}, {"Product.Blocks", unsafe.Offsetof(p.Blocks), 40},
		{"Product.OutStride", unsafe.Offsetof(p.OutStride), 48}, {"Product.AStride", unsafe.Offsetof(p.AStride), 56},
		{"Product.Add", unsafe.Offsetof(p.Add), 64}, {"Product.Panels", unsafe.Offsetof(p.Panels), 72},
		{"Product.PanelBytes", unsafe.Offsetof(p.PanelBytes), 80},
		{"Product.Hint", unsafe.Offsetof(p.Hint), 88}, {"Product.Ahead", unsafe.Offsetof(p.Ahead), 96},
		{"Product.Table", unsafe.Offsetof(p.Table), 104}, {"Product.Tiled", unsafe.Offsetof(p.Tiled), 112},
		{"Product.Few", unsafe.Offsetof(p.Few), 120},

		{"A256.Q", unsafe.Offsetof(a256.Q), 0}, {"A256.Sum16", unsafe.Offsetof(a256.Sum16), 256},
		{"A256.Sum32", unsafe.Offsetof(a256.Sum32), 288}, {"A256.D", unsafe.Offsetof(a256.D), 304},
		{"the size of A256", unsafe.Sizeof(a256), A256Bytes},
		{"A32.Q", unsafe.Offsetof(a32.Q), 0}, {"A32.D", unsafe.Offsetof(a32.D), 32},
		{"A32.S", unsafe.Offsetof(a32.S), 36},
		{"the size of A32", unsafe.Sizeof(a32), A32Bytes},

		{"Units.RowBytes", unsafe.Offsetof(u.RowBytes), 0}, {"Units.N", unsafe.Offsetof(u.N), 8},
		{"Units.Blocks", unsafe.Offsetof(u.Blocks), 16}, {"Units.BlockBytes", unsafe.Offsetof(u.BlockBytes), 24},
	} {
		if f.got != f.want {
			t.Errorf("%s is %d, in the assembly %d", f.name, f.got, f.want)
		}
	}
}

// randomTile fills a tile with weights of the kinds that quantizers meet:
// Gaussian, heavy-tailed, all zero, constant, one-sided, one spike, denormal, large.
func randomTile(r *rand.Rand, n int) *Tile {
	t := new(Tile)
	t.Init()
	t.SetN(n)
	for g := range Groups {
		kind := r.IntN(10)
		scale := float32(math.Exp(r.NormFloat64()*3 - 4))
		constant := float32(r.NormFloat64()) * scale
		for i := range n {
			var v float32
			switch kind {
			default:
				v = float32(r.NormFloat64()) * scale
			case 0:
				v = 0
			case 1:
				v = constant
			case 2:
				v = abs(float32(r.NormFloat64())) * scale
			case 3:
				if i == int(g) {
					v = -scale
				}
			case 4:
				v = float32(r.NormFloat64()) * 1e-40
			case 5:
				v = float32(r.NormFloat64()) * 2e4
			case 6:
				v = float32(r.IntN(31)-15) * scale // ties
			}
			t.Src[n*g+i] = v
		}
	}
	for i := range t.Table[:16] {
		t.Table[i] = float32(5 + r.IntN(30))
	}
	t.Table[0] = -127
	v := t.Table[0]
	for k := 1; k < 16; k++ {
		t.Table[16+k] = v + t.Table[k]/2
		v += t.Table[k]
	}
	return t
}

// steps fills Steps with n factors from first in steps of delta.
func (t *Tile) steps(n int, first, delta float32) {
	t.NSteps = int64(n)
	for i := range n {
		t.Steps[i] = first + float32(delta*float32(i))
	}
}

// someScales sets Scale and Min.
func (t *Tile) someScales() {
	for g := range Groups {
		t.Scale[g] = max(1e-20, abs(t.Src[16*g])/5)
		t.Min[g] = t.Src[16*g+3]
	}
}

// cases are the kernels with the parameters that each needs.
var cases = []struct {
	name string
	run  func(s *Set, t *Tile)
}{
	{"Transpose", func(s *Set, t *Tile) {}},
	{"WeightAbs", func(s *Set, t *Tile) { t.C = 1; s.WeightAbs(t) }},
	{"MinMax", func(s *Set, t *Tile) { s.MinMax(t) }},
	{"AbsMax", func(s *Set, t *Tile) { s.AbsMax(t) }},
	{"ScaleMin", func(s *Set, t *Tile) { t.C, t.Hi = 1, 15; t.steps(21, 14, 0.1); s.WeightAbs(t); s.ScaleMin(t) }},
	{"ScaleMin/37", func(s *Set, t *Tile) { t.Hi = 31; t.steps(37, 30.1, 0.05); s.WeightSquare(t); s.ScaleMin(t) }},
	{"ScaleMinAbs", func(s *Set, t *Tile) {
		t.C, t.Hi = 0, 3
		t.steps(16, 2.5, 0.1)
		s.WeightAbs(t)
		s.ScaleMinAbs(t)
	}},
	{"ScaleSymmetric", func(s *Set, t *Tile) {
		t.Lo, t.Hi = -32, 31
		t.steps(19, -32.9, 0.1)
		s.WeightSquare(t)
		s.ScaleSymmetric(t)
	}},
	{"ScaleDescent", func(s *Set, t *Tile) {
		t.Lo, t.Hi = -4, 3
		t.steps(1, -4, 0)
		s.WeightSquare(t)
		s.ScaleDescent(t)
	}},
	{"ScaleTable", func(s *Set, t *Tile) { t.steps(15, -134, 1); s.WeightSquare(t); s.ScaleTable(t) }},
	{"CodeSums", func(s *Set, t *Tile) { t.Lo, t.Hi = -4, 3; t.someScales(); s.WeightSquare(t); s.CodeSums(t) }},
	{"EncodeRound", func(s *Set, t *Tile) {
		t.Lo, t.Hi, t.C = -4, 3, 4
		t.someScales()
		s.EncodeRound(t)
	}},
	{"EncodeFloor", func(s *Set, t *Tile) { t.Hi, t.C = 15, 8.5; inverseScales(s, t, -8); s.EncodeFloor(t) }},
	{"EncodeAway", func(s *Set, t *Tile) { t.C = 0.5; inverseScales(s, t, 127); s.EncodeAway(t) }},
	{"EncodeTable", func(s *Set, t *Tile) { inverseScales(s, t, -127); s.EncodeTable(t) }},
}

func inverseScales(s *Set, t *Tile, code float32) {
	s.AbsMax(t)
	for g := range Groups {
		if t.Scale[g] != 0 && abs(t.Scale[g]) > 1e-30 {
			t.Scale[g] = code / t.Scale[g]
		} else {
			t.Scale[g] = 0
		}
	}
}

// Every set computes the same bits as the portable one.
func TestSetsAgree(t *testing.T) {
	for _, s := range Sets() {
		for _, c := range cases {
			t.Run(s.Name+"/"+c.name, func(t *testing.T) {
				r := rand.New(rand.NewPCG(1, 2))
				for round := range 200 {
					n := 16 << (round % 2)
					want := randomTile(r, n)
					got := new(Tile)
					*got = *want
					generic.Transpose(&want.X, &want.Src, n)
					s.Transpose(&got.X, &got.Src, n)
					c.run(&generic, want)
					c.run(s, got)
					want.L, got.L = [512]float32{}, [512]float32{}
					if err := sameTile(want, got); err != "" {
						t.Fatalf("round %d, N %d: %s", round, n, err)
					}
				}
			})
		}
	}
}

// randomFeedback returns groups of n weights with codes of bits bits; some scales are 0, some do not fit the weights.
func randomFeedback(r *rand.Rand, n, bits int) *Feedback {
	f := &Feedback{U: new([32][32]float32), D: new([32]float32), N: int64(n), Hi: float32(int(1)<<bits - 1)}
	if r.IntN(2) == 0 {
		f.Lo, f.Hi = -f.Hi/2-0.5, f.Hi/2-0.5
	}
	for i := range f.W {
		f.W[i] = float32(r.NormFloat64())
		f.X[i] = f.W[i] + float32(r.NormFloat64()/8)
	}
	for i := range f.U {
		f.D[i] = float32(r.ExpFloat64())
		for k := range f.U[i] {
			f.U[i][k] = float32(r.NormFloat64() / 8)
		}
	}
	for g := range Groups {
		f.Scale[g] = float32(math.Exp(r.NormFloat64())) * 4 / (f.Hi - f.Lo)
		if f.Lo == 0 {
			f.Min[g] = float32(2 + r.NormFloat64())
		}
		f.Inv[g] = 1 / f.Scale[g]
		if r.IntN(8) == 0 {
			f.Scale[g], f.Inv[g] = 0, 0
		}
	}
	return f
}

func TestFeedback(t *testing.T) {
	for _, s := range Sets() {
		r := rand.New(rand.NewPCG(3, 4))
		for round := range 200 {
			want := randomFeedback(r, 16<<(round%2), 2+r.IntN(7))
			got := *want
			generic.Feedback(want)
			s.Feedback(&got)
			for g := range Groups {
				if got.Cost[g] != want.Cost[g] {
					t.Fatalf("%s, round %d: cost %g, want %g", s.Name, round, got.Cost[g], want.Cost[g])
				}
			}
			if got.L != want.L || got.E != want.E {
				t.Fatalf("%s, round %d: other codes or errors", s.Name, round)
			}
		}
	}
}

func BenchmarkFeedback(b *testing.B) {
	for _, s := range Sets() {
		b.Run(s.Name, func(b *testing.B) {
			f := randomFeedback(rand.New(rand.NewPCG(1, 2)), 32, 4)
			for b.Loop() {
				s.Feedback(f)
			}
		})
	}
}

func sameTile(want, got *Tile) string {
	w, g := reflect.ValueOf(want).Elem(), reflect.ValueOf(got).Elem()
	for f := range w.NumField() {
		if a, b := w.Field(f).Interface(), g.Field(f).Interface(); a != b {
			name := w.Type().Field(f).Name
			if w.Field(f).Kind() == reflect.Array {
				for i := range w.Field(f).Len() {
					if a, b := w.Field(f).Index(i).Interface(), g.Field(f).Index(i).Interface(); a != b {
						return fmt.Sprintf("%s[%d] = %v, want %v", name, i, b, a)
					}
				}
			}
			return fmt.Sprintf("%s = %v, want %v", name, b, a)
		}
	}
	return ""
}

func TestExpandBF16(t *testing.T) {
	src := make([]byte, 2<<16)
	for i := range 1 << 16 {
		binary.LittleEndian.PutUint16(src[2*i:], uint16(i))
	}
	for _, s := range Sets() {
		for _, part := range [][2]int{{0, 1 << 16}, {3, 40}, {5, 6}, {7, 7}, {1, 70}} {
			dst := make([]float32, part[1]-part[0]+1)
			dst[len(dst)-1] = 42
			s.ExpandBF16(dst[:len(dst)-1], src[2*part[0]:2*part[1]])
			for i, v := range dst[:len(dst)-1] {
				if math.Float32bits(v) != uint32(part[0]+i)<<16 {
					t.Fatalf("%s: %#x became %#x", s.Name, part[0]+i, math.Float32bits(v))
				}
			}
			if dst[len(dst)-1] != 42 {
				t.Fatalf("%s: wrote past the end of %d values", s.Name, len(dst)-1)
			}
		}
	}
}

func TestBelow(t *testing.T) {
	bad := []float32{float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()), 65536, -70000,
		math.Float32frombits(0x7f800001)}
	for _, s := range Sets() {
		for n := range 70 {
			x := make([]float32, n)
			for i := range x {
				x[i] = 65535 * (1 - 2*float32(i%2))
			}
			if !s.Below(x, 65536) {
				t.Fatalf("%s: %d good values refused", s.Name, n)
			}
			for i := range x {
				good := x[i]
				for _, v := range bad {
					x[i] = v
					if s.Below(x, 65536) {
						t.Fatalf("%s: %v at %d of %d not found", s.Name, v, i, n)
					}
				}
				x[i] = good
			}
		}
	}
}

// A single legacy SSE instruction among VEX ones costs hundreds of cycles while
// the upper halves of registers are in use, so there must be none.
func TestNoLegacySSE(t *testing.T) {
	files, err := filepath.Glob("*_amd64.s")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	register := regexp.MustCompile(`\b[XYZ][0-9]+\b`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for n, line := range strings.Split(string(text), "\n") {
			line, _, _ = strings.Cut(strings.TrimSpace(line), "//")
			if register.MatchString(line) && !strings.HasPrefix(line, "V") {
				t.Errorf("%s:%d: %s", file, n+1, line)
			}
		}
		if file == "cpuid_amd64.s" { // runs on CPUs without VZEROUPPER
			continue
		}
		if strings.Count(string(text), "\tRET") != strings.Count(string(text), "\tVZEROUPPER\n\tRET") {
			t.Errorf("%s: a RET without VZEROUPPER before it", file)
		}
	}
}

func TestSelect(t *testing.T) {
	defer func() { _ = Select("") }()
	for _, s := range Sets() {
		if err := Select(s.Name); err != nil || Best() != s {
			t.Errorf("Select(%q): %v, in use %s", s.Name, err, Best().Name)
		}
	}
	if err := Select("sse9"); err == nil {
		t.Error("an unknown name was accepted")
	}
}

func BenchmarkKernels(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	tile := new(Tile)
	tile.Init()
	tile.SetN(32)
	for i := range tile.Src {
		tile.Src[i] = float32(r.NormFloat64()) * 0.02
	}
	copy(tile.Table[:], randomTile(r, 32).Table[:])
	for _, s := range Sets() {
		for _, c := range cases {
			b.Run(s.Name+"/"+c.name, func(b *testing.B) {
				s.Transpose(&tile.X, &tile.Src, 32)
				for b.Loop() {
					c.run(s, tile)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/512, "ns/weight")
			})
		}
	}
}
