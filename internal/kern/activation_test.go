package kern

import (
	"encoding/json"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"os"
	"testing"
)

// golden is a case of testdata/activations.json: inputs, the result y, and the gradients d… that follow from dy.
type golden struct {
	Eps, Limit            float32
	X, W, B, Gate, Up, Dy []float32
	Y, Dx, Dgate, Dup     []float64
}

// readGolden reads a case. What is a row of a batch is padded with zeros to a multiple of 16.
func readGolden(t *testing.T, name string) golden {
	text, err := os.ReadFile("testdata/activations.json")
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]golden
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	g, ok := all[name]
	if !ok {
		t.Fatalf("there is no case %q", name)
	}
	for _, x := range []*[]float32{&g.X, &g.W, &g.B, &g.Gate, &g.Up} {
		*x = append(*x, make([]float32, -len(*x)&15)...)
	}
	return g
}

// LayerNorm and its gradient against PyTorch.
func TestLayerNorm(t *testing.T) {
	g := readGolden(t, "layer_norm")
	n := len(g.Y)
	var mean, size, variance float64
	for _, v := range g.X[:n] {
		mean += float64(v) / float64(n)
		size += math.Abs(float64(v)) / float64(n)
	}
	for _, v := range g.X[:n] {
		variance += (float64(v) - mean) * (float64(v) - mean) / float64(n)
	}
	for _, s := range Sets() {
		dst := make([]float32, len(g.X))
		s.LayerNorm(dst, g.X, g.W, g.B, n, g.Eps)
		for i, y := range g.Y {
			f := float64(g.W[i]) / math.Sqrt(variance+float64(g.Eps))
			// Of the mean, n/16 + 4 roundings; those of RMSNorm, one of the difference and one of the last sum.
			bound := float64(n/16+5)*size*math.Abs(f) + 42*math.Abs(y-float64(g.B[i])) + math.Abs(y)
			near(t, i, dst[i], y, half*bound)
		}
		for i, v := range dst[n:] {
			near(t, n+i, v, 0, 0)
		}
	}
	dx := make([]float32, n)
	LayerNormBack(dx, g.Dy, g.X[:n], g.W, g.Eps, false)
	for i, want := range g.Dx {
		near(t, i, dx[i], want, half*math.Abs(want)+1e-9)
	}
	before := append([]float32(nil), dx...)
	LayerNormBack(dx, g.Dy, g.X[:n], g.W, g.Eps, true)
	for i, v := range before {
		near(t, i, dx[i], 2*float64(v), 0)
	}
}

// least is below what the kernels can give: they have 0 where exp(-z) is infinite.
const least = 1e-36

// gated bounds the errors of g·σ(z) and of its derivative with respect to g, slope being that of z. What z is
// off by, its size times some roundings, is a relative error of the smaller of σ(z) and σ(-z).
func gated(g, z, slope float64) (value, derivative float64) {
	tail := 1 / (1 + math.Exp(math.Abs(z)))
	sigma := tail
	if z > 0 {
		sigma = 1 - tail
	}
	off := (10 + 4*math.Abs(z)) * tail
	bend := 0.0
	if tail > 0 {
		bend = math.Abs(g * slope)
	}
	return half*math.Abs(g)*(off+4*sigma) + least, half*(off*(1+bend)+4*sigma) + least
}

// torchError is what PyTorch's results are off by, relative to the argument: it has float64 and 1 + tanh(z/2).
const torchError = 1e-15

func geluZ(x float64) (z, slope float64) {
	c := 2 * math.Sqrt(2/math.Pi)
	return x * (c + c*0.044715*x*x), c + 3*c*0.044715*x*x
}

// Gelu and its gradient against PyTorch.
func TestGelu(t *testing.T) {
	g := readGolden(t, "gelu")
	for _, s := range Sets() {
		t.Run(s.Name, func(t *testing.T) {
			dst, dx := make([]float32, len(g.X)), append([]float32(nil), g.X[:len(g.Y)]...)
			s.Gelu(dst, g.X)
			s.GeluBack(dx, g.Dy, make([]float32, len(g.X)))
			for i, y := range g.Y {
				x := float64(g.X[i])
				z, slope := geluZ(x)
				value, derivative := gated(x, z, slope)
				near(t, i, dst[i], y, value+torchError*math.Abs(x))
				near(t, i, dx[i], g.Dx[i], (derivative+torchError*(1+x*x))*math.Abs(float64(g.Dy[i])))
			}
		})
	}
}

// Gegelu and its gradients against PyTorch.
func TestGegelu(t *testing.T) {
	for _, name := range []string{"gegelu", "gegelu_unlimited"} {
		g := readGolden(t, name)
		n := len(g.Y)
		if name == "gegelu_unlimited" {
			g.Limit = float32(math.Inf(1))
		}
		for _, s := range Sets() {
			t.Run(s.Name+"/"+name, func(t *testing.T) {
				dst := make([]float32, len(g.Gate))
				s.Gegelu(dst, g.Gate, g.Up, g.Limit)
				gate, up := append([]float32(nil), g.Gate[:n]...), append([]float32(nil), g.Up[:n]...)
				s.GegeluBack(gate, up, g.Dy, g.Limit, make([]float32, len(g.Gate)))
				for i, y := range g.Y {
					a, b := clampGegelu(g.Gate[i], g.Up[i], g.Limit)
					value, derivative := gated(float64(a), 1.702*float64(a), 1.702)
					l, dy := math.Abs(float64(b)+1), math.Abs(float64(g.Dy[i]))
					near(t, i, dst[i], y, value*l)
					near(t, i, gate[i], g.Dgate[i], derivative*l*dy)
					near(t, i, up[i], g.Dup[i], value*dy)
				}
			})
		}
	}
}

// The activations over their range against float64. The relative error of exp(-z) is the absolute one of z.
func TestActivationAccuracy(t *testing.T) {
	const n = 1024
	x, dst, zero, infinite := make([]float32, n), make([]float32, n), make([]float32, n), float32(math.Inf(1))
	for _, s := range Sets() {
		for first := float32(-24); first < 24; first += 2 {
			for i := range x {
				x[i] = first + float32(i)*(2./n)
			}
			check := func(i int, numerator, z float64) {
				t.Helper()
				want := numerator / (1 + math.Exp(-z))
				near(t, i, dst[i], want, half*(4+3*math.Abs(z))*math.Abs(want)+least)
			}
			s.Gelu(dst, x)
			for i, v := range x {
				z, _ := geluZ(float64(v))
				check(i, float64(v), z)
			}
			s.Gegelu(dst, x, zero, infinite)
			for i, v := range x {
				check(i, float64(v), 1.702*float64(v))
			}
			s.Sigmoid(dst, x)
			for i, v := range x {
				check(i, 1, float64(v))
			}
		}
	}
}

// At infinities and beside the limit the activations give what PyTorch's float32 gives, at a NaN a NaN.
func TestActivationSpecial(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	const huge = math.MaxFloat32
	for _, s := range Sets() {
		x, dst := make([]float32, 16), make([]float32, 16)
		copy(x, []float32{inf, -inf, huge, -huge, nan, 1e-45, 1e-40})
		s.Gelu(dst, x)
		for i, want := range []float32{inf, nan, huge, 0, nan, 0, 5e-41} {
			special(t, s.Name, "Gelu", x[i], dst[i], want)
		}
		s.Sigmoid(dst, x)
		for i, want := range []float32{1, 0, 1, 0, nan, 0.5, 0.5} {
			special(t, s.Name, "Sigmoid", x[i], dst[i], want)
		}
		gate, up := make([]float32, 16), make([]float32, 16)
		copy(gate, []float32{inf, 21, 20, 20, 20, 20, 20, -inf, nan, 20, -huge, inf, inf})
		copy(up, []float32{0, 0, inf, -inf, 21, -21, -huge, 0, 0, nan, 0, 30, -1})
		s.Gegelu(dst, gate, up, 20)
		for i, want := range []float32{inf, 20, inf, -inf, 420, -380, -380, nan, nan, nan, 0, inf, nan} {
			special(t, s.Name, "Gegelu", gate[i], dst[i], want)
		}
		g, l := []float32{inf, 21, 19}, []float32{2, 2, inf}
		s.GegeluBack(g, l, []float32{1, 1, 1}, 20, make([]float32, 16))
		for i, want := range []float32{3, 0, inf, inf, 20, 19} {
			special(t, s.Name, "GegeluBack", want, append(g, l...)[i], want)
		}
	}
}

func special(t *testing.T, set, kernel string, x, got, want float32) {
	t.Helper()
	if got != want && (got == got || want == want) {
		t.Errorf("%s, %s: %g at %g, want %g", set, kernel, got, x, want)
	}
}

// The gradients have the same bits on every architecture.
func TestGradientBits(t *testing.T) {
	const n = 1000
	for _, s := range Sets() {
		random := normal(rand.New(rand.NewPCG(8, 9)))
		h := fnv.New64a()
		write := func(x []float32) {
			for _, v := range x {
				u := math.Float32bits(v)
				h.Write([]byte{byte(u), byte(u >> 8), byte(u >> 16), byte(u >> 24)})
			}
		}
		x, gate, up, dy, scratch := random(n, 2), random(n, 9), random(n, 9), random(n, 1), make([]float32, 1008)
		s.GeluBack(x, dy, scratch)
		write(x)
		s.GegeluBack(gate, up, dy, 20, scratch)
		write(gate)
		write(up)
		dx := random(n, 1)
		LayerNormBack(dx, dy, random(n, 3), random(n, 1), 1e-5, true)
		write(dx)
		if got, want := h.Sum64(), uint64(0xb9084e2ca81c5568); got != want {
			t.Errorf("%s: the checksum is %#x, want %#x", s.Name, got, want)
		}
	}
}
