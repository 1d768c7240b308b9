package verify

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
)

// golden is ../testdata/golden/verify.json.
type golden struct {
	Positions []Position
	Large     Position
	Summary   json.RawMessage
}

func readGolden(t *testing.T) golden {
	t.Helper()
	b, err := os.ReadFile("../testdata/golden/verify.json")
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

// rows makes the rows of logits that golden_verify.py makes.
type rows uint64

func (r *rows) next(bits int) uint64 {
	*r = *r*6364136223846793005 + 1442695040888963407
	return uint64(*r) >> (64 - bits)
}

func (r *rows) pair(vocab, shift int) (base, quant []float32) {
	for range vocab {
		x := r.next(23)
		x = x * x * 3 >> 25
		base = append(base, float32(x)/(1<<19))
		quant = append(quant, float32(x+r.next(20)>>shift)/(1<<19))
	}
	return base, quant
}

// goldenPositions compares the 500 pairs of rows, and the large one.
func goldenPositions(t *testing.T) (all []Position, large Position) {
	t.Helper()
	r := rows(1)
	for i := range 500 {
		base, quant := r.pair(300, i%7)
		p, err := Compare(base, quant, int32(i*37%300))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	base, quant := r.pair(49152, 4)
	large, err := Compare(base, quant, 12345)
	if err != nil {
		t.Fatal(err)
	}
	return all, large
}

func TestCompareGolden(t *testing.T) {
	g := readGolden(t)
	got, large := goldenPositions(t)
	check := func(got, want Position) {
		t.Helper()
		for _, v := range []struct {
			what      string
			got, want float64
		}{{"base", got.Base, want.Base}, {"quant", got.Quant, want.Quant}, {"KLD", got.KLD, want.KLD}, {"Δp",
			got.DeltaP, want.DeltaP}} {
			if !(math.Abs(v.got-v.want) <= 1e-11*math.Abs(v.want)) {
				t.Errorf("token %d: %s is %.17g, expected %.17g", want.Token, v.what, v.got, v.want)
			}
		}
		if got.Token != want.Token || got.SameTop != want.SameTop || got.Top5 != want.Top5 {
			t.Errorf("got %+v, expected %+v", got, want)
		}
	}
	for i, want := range g.Positions {
		check(got[i], want)
	}
	check(large, g.Large)
}

// A row against itself differs in nothing, exactly; NLL is what Compare finds.
func TestCompareWithItself(t *testing.T) {
	r := rows(2)
	for range 100 {
		row, _ := r.pair(301, 0)
		p, err := Compare(row, row, 17)
		if err != nil {
			t.Fatal(err)
		}
		nll, err := NLL(row, 17)
		if err != nil {
			t.Fatal(err)
		}
		if want := (Position{Token: 17, Base: nll, Quant: nll, SameTop: true, Top5: 5}); p != want {
			t.Fatalf("got %+v, expected %+v", p, want)
		}
	}
}

// KLD is never negative, however wild or near the rows are, and a constant added to a
// row changes nothing. All logits are multiples of 1/64, so that the sums are exact.
func TestCompareProperties(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		n := TopK + random.IntN(60)
		base, quant, moved := make([]float32, n), make([]float32, n), make([]float32, n)
		wild := 1 << random.IntN(18)
		add := float32(random.IntN(1<<16) - 1<<15)
		for i := range base {
			base[i] = float32(random.IntN(wild)) / 64
			quant[i] = base[i]
			if random.IntN(3) == 0 {
				quant[i] += float32(random.IntN(wild)-wild/2) / 64
			}
			moved[i] = quant[i] + add
		}
		token := int32(random.IntN(n))
		p, err := Compare(base, quant, token)
		if err != nil {
			t.Fatal(err)
		}
		if !(p.KLD >= 0) || !(p.Base >= 0) || !(p.Quant >= 0) || math.Abs(p.DeltaP) > 1 || p.Top5 < 0 || p.Top5 > TopK {
			t.Fatalf("%v and %v: %+v", base, quant, p)
		}
		q, err := Compare(base, moved, token)
		if err != nil {
			t.Fatal(err)
		}
		if p != q {
			t.Fatalf("%v and %v, moved by %v: %+v, expected %+v", base, quant, add, q, p)
		}
	}
}

func TestCompareExtremes(t *testing.T) {
	const most = math.MaxFloat32
	p, err := Compare([]float32{most, 0, 0, 0, -most}, []float32{-most, 0, 0, 0, most}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Position{Token: 0, Quant: 2 * most, KLD: 2 * most, Top5: 5, DeltaP: -1}); p != want {
		t.Errorf("got %+v, expected %+v", p, want)
	}
	p, err = Compare(make([]float32, 7), make([]float32, 7), 6) // ties: the lower ids are the likelier
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(p.Base-math.Log(7)) > 1e-15 || !p.SameTop || p.Top5 != 5 {
		t.Errorf("equal logits: %+v", p)
	}
}

func TestCompareErrors(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	good := []float32{1, 2, 3, 4, 5, 6}
	for _, c := range []struct {
		name        string
		base, quant []float32
		token       int32
		want        string
	}{
		{"NaN in base", []float32{1, 2, nan, 4, 5, 6}, good, 0, "base model: the logit of token 2 is NaN"},
		{"NaN in quant", good, []float32{nan, 2, 3, 4, 5, 6}, 0, "quantized model: the logit of token 0 is NaN"},
		{"infinite", good, []float32{1, 2, 3, 4, 5, inf}, 0, "quantized model: the logit of token 5 is +Inf"},
		{"minus infinite", []float32{1, -inf, 3, 4, 5, 6}, good, 0, "base model: the logit of token 1 is -Inf"},
		{"lengths", good, good[:5], 0, "the base model gives 6 logits, the quantized model 5"},
		{"too few", good[:4], good[:4], 0, "4 logits, but a comparison needs at least 5"},
		{"token too great", good, good, 6, "token 6 is not among the 6"},
		{"negative token", good, good, -1, "token -1 is not among"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := Compare(c.base, c.quant, c.token)
			if err == nil || !strings.Contains(err.Error(), c.want) || p != (Position{}) {
				t.Errorf("got %+v, %v, expected an error with %q", p, err, c.want)
			}
		})
	}
	for _, c := range []struct {
		logits []float32
		token  int32
	}{{nil, 0}, {good, 6}, {good, -1}, {[]float32{1, nan}, 0}, {[]float32{-inf, 1}, 1}} {
		if v, err := NLL(c.logits, c.token); err == nil {
			t.Errorf("NLL of %v, token %d: %v, expected an error", c.logits, c.token, v)
		}
	}
}

// exps is math.Exp within 2 units of the last place where that is a normal number.
func TestExps(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	check := func(x float64) {
		var e [expBlock]float64
		exps(&e, []float32{0}, -x)
		got, want := e[0], math.Exp(x)
		if x < -708 {
			want = 0
		}
		if !(math.Abs(got-want) <= want*0x2p-52) || x == 0 && got != 1 {
			t.Fatalf("exp(%v) is %v, expected %v", x, got, want)
		}
	}
	for _, x := range []float64{0, math.Copysign(0, -1), -5e-324, -1e-300, -708, math.Nextafter(-708, -1000), -709,
		-746, -1e300, math.Inf(-1)} {
		check(x)
	}
	for range 1_000_000 {
		check(-708 * random.Float64())
		check(-math.Exp(-40 * random.Float64()))
	}
}

func TestCompareConcurrently(t *testing.T) {
	r := rows(3)
	base, quant := r.pair(2000, 2)
	want, err := Compare(base, quant, 7)
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 20 {
				if got, err := Compare(base, quant, 7); err != nil || !reflect.DeepEqual(got, want) {
					t.Errorf("got %+v, %v, expected %+v", got, err, want)
				}
			}
		})
	}
	wait.Wait()
}

func BenchmarkCompare(b *testing.B) {
	r := rows(4)
	base, quant := r.pair(49152, 3)
	for b.Loop() {
		if _, err := Compare(base, quant, 7); err != nil {
			b.Fatal(err)
		}
	}
}
