package quant

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/kern"
)

// golden is a file of testdata/golden, made by the gguf package for Python.
type golden struct {
	Cases []struct {
		Type    string
		Name    string
		Columns int
		Data    []byte
		Values  float32s
	}
}

type float32s []float32

func (f *float32s) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	raw, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return err
	}
	*f = make([]float32, len(raw)/4)
	for i := range *f {
		(*f)[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return nil
}

func readGolden(t *testing.T, name string) golden {
	t.Helper()
	b, err := os.ReadFile("../testdata/golden/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

func TestDequantizeGolden(t *testing.T) {
	seen := map[Type]bool{F32: true}
	for _, c := range readGolden(t, "dequant.json").Cases {
		typ, err := ByName(c.Type)
		if err != nil {
			t.Fatal(err)
		}
		seen[typ] = true
		got := make([]float32, len(c.Values))
		typ.Dequantize(got, c.Data)
		for i, want := range c.Values {
			// The independent decoder may group the products otherwise: one unit in the last place of the larger term.
			most := 2e-7*math.Abs(float64(want)) + 1e-7*largest(c.Values)
			if diff := math.Abs(float64(got[i] - want)); diff > most && got[i] != want {
				t.Errorf("%s: value %d = %g, want %g", typ, i, got[i], want)
				break
			}
		}
	}
	for _, typ := range ReadTypes() {
		if !seen[typ] {
			t.Errorf("%s: no golden values", typ)
		}
	}
}

func largest(x []float32) float64 {
	var m float64
	for _, v := range x {
		m = max(m, math.Abs(float64(v)))
	}
	return m
}

// Without importance the legacy types and the float types are ggml's reference encoders, byte for byte.
func TestQuantizeGolden(t *testing.T) {
	for _, c := range readGolden(t, "quantize.json").Cases {
		typ, err := ByName(c.Type)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(c.Data))
		typ.Quantize(got, c.Values, c.Columns, nil)
		if c.Name == "zeros" && largest(decode(typ, got, len(c.Values))) == 0 {
			continue // the sign of a zero scale is free
		}
		if !bytes.Equal(got, c.Data) {
			at := 0
			for got[at] == c.Data[at] {
				at++
			}
			t.Errorf("%s %s: byte %d of %d is %#x, want %#x", typ, c.Name, at, len(got), got[at], c.Data[at])
		}
	}
}

// matrix returns rows of weights of several kinds, with columns of uneven importance.
func matrix(r *rand.Rand, rows, cols int) (x, imp []float32) {
	x, imp = make([]float32, rows*cols), make([]float32, cols)
	for i := range x {
		switch i / cols % 4 {
		case 0:
			x[i] = float32(r.NormFloat64() * 0.02)
		case 1:
			x[i] = float32(r.NormFloat64() * math.Exp(r.NormFloat64()) * 0.01)
		case 2:
			x[i] = float32(r.Float64()-0.3) * float32(i%256) / 256
		case 3:
			if i/32%3 > 0 {
				x[i] = float32(r.NormFloat64() * math.Exp(float64(i%cols/64)-5))
			}
		}
	}
	for i := range imp {
		imp[i] = float32(math.Exp(2 * r.NormFloat64()))
	}
	return x, imp
}

func encode(typ Type, x []float32, cols int, imp []float32) []byte {
	dst := make([]byte, typ.Size(int64(len(x))))
	typ.Quantize(dst, x, cols, imp)
	return dst
}

// ways are those in which a matrix can be encoded.
var ways = map[string]func(typ Type, dst []byte, x []float32, cols int, imp []float32){
	"plain":      func(typ Type, dst []byte, x []float32, cols int, _ []float32) { typ.Quantize(dst, x, cols, nil) },
	"importance": Type.Quantize,
	"refit":      Type.QuantizeRefit,
}

func encodeBy(way string, typ Type, x []float32, cols int, imp []float32) []byte {
	dst := make([]byte, typ.Size(int64(len(x))))
	ways[way](typ, dst, x, cols, imp)
	return dst
}

func decode(typ Type, b []byte, n int) []float32 {
	y := make([]float32, n)
	typ.Dequantize(y, b)
	return y
}

// relativeError returns the root of Σ w·(x-y)² / Σ w·x².
func relativeError(x, y, imp []float32) float64 {
	var num, den float64
	for i := range x {
		w := 1.0
		if imp != nil {
			w = float64(imp[i%len(imp)])
		}
		d := float64(x[i]) - float64(y[i])
		num += w * d * d
		den += w * float64(x[i]) * float64(x[i])
	}
	return math.Sqrt(num / den)
}

// TestRoundTripError encodes Gaussian weights. No code of b bits a weight has a relative error below 2^-b for them
// (Shannon's rate-distortion function); types come within three times that.
func TestRoundTripError(t *testing.T) {
	floats := map[Type]float64{F32: 0x1p-32, F16: 1e-4, BF16: 7e-4} // whose bits are not of one range
	r := rand.New(rand.NewPCG(3, 4))
	x := make([]float32, 8*768)
	for i := range x {
		x[i] = float32(r.NormFloat64() * 0.02)
	}
	_, imp := matrix(r, 1, 768)
	for _, typ := range Types() {
		least, ok := floats[typ]
		if !ok {
			least = math.Exp2(-typ.BitsPerWeight())
		}
		for name, w := range map[string][]float32{"plain": nil, "importance": imp} {
			most := 3 * least
			if w != nil {
				most *= 1.35 // the unweighted error may grow
			}
			got := relativeError(x, decode(typ, encode(typ, x, 768, w), len(x)), nil)
			if got > most || got < least && typ != F32 {
				t.Errorf("%s %s: relative error %.5f, expected %.5f to %.5f", typ, name, got, least, most)
			}
		}
	}
}

// Importance must lower the error that it weighs.
func TestImportanceHelps(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	x, imp := matrix(r, 32, 512)
	for _, typ := range Types() {
		if !typ.IsQuantized() || typ == Q8_0 {
			continue
		}
		plain := relativeError(x, decode(typ, encode(typ, x, 512, nil), len(x)), imp)
		weighted := relativeError(x, decode(typ, encode(typ, x, 512, imp), len(x)), imp)
		if weighted >= 0.97*plain {
			t.Errorf("%s: weighted error %.5f with importance, %.5f without", typ, weighted, plain)
		}
	}
}

// Importance is relative: scaled by a power of two it gives the same bytes.
func TestImportanceScale(t *testing.T) {
	x, imp := fixedMatrix(4, 512)
	for _, typ := range Types() {
		want := encode(typ, x, 512, imp)
		for _, scale := range []float32{1e-30, 1e25} {
			scale = float32(math.Ldexp(1, int(math.Log2(float64(scale)))))
			scaled := make([]float32, len(imp))
			for i := range imp {
				scaled[i] = imp[i] * scale
			}
			if !bytes.Equal(encode(typ, x, 512, scaled), want) {
				t.Errorf("%s: importance times %g changed the bytes", typ, scale)
			}
		}
	}
}

// Every kernel set gives the same bytes, however the rows are split over calls.
func TestSameBytes(t *testing.T) {
	defer func() { _ = kern.Select("") }()
	r := rand.New(rand.NewPCG(7, 8))
	const cols = 768
	x, imp := matrix(r, 12, cols)
	for _, typ := range Types() {
		for name := range ways {
			if err := kern.Select("generic"); err != nil {
				t.Fatal(err)
			}
			want := encodeBy(name, typ, x, cols, imp)
			for _, s := range kern.Sets() {
				if err := kern.Select(s.Name); err != nil {
					t.Fatal(err)
				}
				if got := encodeBy(name, typ, x, cols, imp); !bytes.Equal(got, want) {
					t.Errorf("%s %s: %s differs from generic", typ, name, s.Name)
				}
			}
			var parts []byte
			for _, rows := range [][2]int{{0, 1}, {1, 4}, {4, 12}} {
				parts = append(parts, encodeBy(name, typ, x[rows[0]*cols:rows[1]*cols], cols, imp)...)
			}
			if !bytes.Equal(parts, want) {
				t.Errorf("%s %s: splitting the rows changed the bytes", typ, name)
			}
		}
	}
}

// The bytes of a fixed matrix, so that a change of the encoders is seen and
// other architectures prove that they agree.
func TestBytesGolden(t *testing.T) {
	want := map[string]string{}
	b, err := os.ReadFile("testdata/bytes.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if name, sum, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			want[name] = sum
		}
	}
	x, imp := fixedMatrix(16, 768)
	for _, typ := range Types() {
		for name := range ways {
			key := typ.String() + "/" + name
			got := fmt.Sprintf("%x", sha256.Sum256(encodeBy(name, typ, x, 768, imp)))
			if got != want[key] {
				t.Errorf("testdata/bytes.txt has %s for\n%s %s", want[key], key, got)
			}
		}
	}
}

// fixedMatrix depends on no function whose result differs between architectures.
func fixedMatrix(rows, cols int) (x, imp []float32) {
	r := rand.New(rand.NewPCG(9, 10))
	x, imp = make([]float32, rows*cols), make([]float32, cols)
	for i := range x {
		sum := r.Int64N(2000) + r.Int64N(2000) + r.Int64N(2000) - 2997
		x[i] = float32(sum*int64(1+i/cols)) / 65536
	}
	for i := range imp {
		imp[i] = float32(1+r.Int64N(1000)) / 64
	}
	return x, imp
}

// Awkward rows decode to finite values close to what they were.
func TestAwkwardRows(t *testing.T) {
	fill := func(f func(i int) float32) []float32 {
		x := make([]float32, 512)
		for i := range x {
			x[i] = f(i)
		}
		return x
	}
	rows := map[string][]float32{
		"zero":     fill(func(int) float32 { return 0 }),
		"constant": fill(func(int) float32 { return 0.125 }),
		"negative": fill(func(i int) float32 { return -1 - float32(i%7) }),
		"positive": fill(func(i int) float32 { return 1 + float32(i%7) }),
		"spike": fill(func(i int) float32 {
			if i == 77 {
				return -9
			}
			return 0
		}),
		"denormal": fill(func(i int) float32 { return float32(i-256) * 1e-42 }),
		"tiny":     fill(func(i int) float32 { return float32(i-256) * 1e-9 }),
		"large":    fill(func(i int) float32 { return float32(i-256) * 255 }),
	}
	imp := fill(func(i int) float32 { return float32(i % 5) })
	zero := fill(func(int) float32 { return 0 })
	for _, typ := range Types() {
		for name, x := range rows {
			for _, w := range [][]float32{nil, imp, zero} {
				y := decode(typ, encode(typ, x, len(x), w), len(x))
				top := largest(x)
				for i := range y {
					// Without weight anything finite is right; else no error exceeds the range.
					bad := math.IsNaN(float64(y[i])) || math.IsInf(float64(y[i]), 0)
					if w == nil && math.Abs(float64(x[i]-y[i])) > 0.6*top+1e-6 {
						bad = true
					}
					if bad {
						t.Errorf("%s %s: weight %g came back as %g", typ, name, x[i], y[i])
						break
					}
				}
			}
		}
	}
}

func TestTable(t *testing.T) {
	for _, typ := range ReadTypes() {
		if got, err := ByName(strings.ToLower(typ.String())); err != nil || got != typ {
			t.Errorf("ByName(%s) = %v, %v", typ, got, err)
		}
		if got, ok := ByGGML(typ.GGML()); !ok || got != typ {
			t.Errorf("ByGGML(%d) = %v", typ.GGML(), got)
		}
		if !typ.CanWrite() {
			if err := typ.CheckWrite(); err == nil || !strings.HasPrefix(err.Error(), typ.String()+" is only read: ") {
				t.Errorf("%s: %v", typ, err)
			}
			continue
		}
		if n := len(encode(typ, make([]float32, 512), 256, nil)); int64(n) != typ.Size(512) {
			t.Errorf("%s: %d bytes for 512 weights", typ, n)
		}
	}
	if _, err := ByName("Q9_K"); err == nil || !strings.Contains(err.Error(), "Q4_K") {
		t.Errorf("ByName(Q9_K): %v", err)
	}
	if got := GGMLName(15); got != "Q8_K" {
		t.Errorf("GGMLName(15) = %s", got)
	}
}

func TestCheckRange(t *testing.T) {
	x := make([]float32, 300)
	if got := CheckRange(x); got != -1 {
		t.Errorf("zeros: %d", got)
	}
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(-1)), 65520, -1e9} {
		x[277] = bad
		if got := CheckRange(x); got != 277 {
			t.Errorf("%g: found at %d", bad, got)
		}
	}
}

func BenchmarkQuantize(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	const cols = 3072
	x := make([]float32, 16*cols)
	imp := make([]float32, cols)
	for i := range x {
		x[i] = float32(r.NormFloat64() * 0.02)
	}
	for i := range imp {
		imp[i] = r.Float32()
	}
	for _, s := range kern.Sets() {
		for _, typ := range Types() {
			for name, way := range ways {
				b.Run(s.Name+"/"+typ.String()+"/"+name, func(b *testing.B) {
					if err := kern.Select(s.Name); err != nil {
						b.Fatal(err)
					}
					defer func() { _ = kern.Select("") }()
					dst := make([]byte, typ.Size(int64(len(x))))
					b.SetBytes(int64(4 * len(x)))
					for b.Loop() {
						way(typ, dst, x, cols, imp)
					}
					b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(x)), "ns/weight")
				})
			}
		}
	}
}
