package verify

import (
	"bytes"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/formats/seal"
	"github.com/phi3conv/phi3conv/internal/sample"
)

// sealed writes rows of base logits into a seal, full of them in full, and calls use
// with each entry.
func sealed(t *testing.T, rows [][]float32, topK int, minP float64, full int, use func(i int, e *seal.Entry)) {
	t.Helper()
	digest := strings.Repeat("0", 64)
	h := seal.Header{
		WeightsSHA256: digest, Tokenizer: seal.Tokenizer{TokensSHA256: digest,
			MergesSHA256: digest}, VocabSize: len(rows[0]), TopK: topK, MinP: minP,
		Conventions: seal.Conventions{Context: 2, Stride: 1, BOS: -1},
		Texts:       []seal.Text{{SHA256: digest, Tokens: len(rows) + 1}}, Positions: len(rows), Full: full,
	}
	tokens := make([]int32, len(rows)+1)
	for i := range tokens {
		tokens[i] = int32(i % h.VocabSize)
	}
	var b bytes.Buffer
	w, err := seal.NewWriter(&b, h, [][]int32{tokens})
	if err != nil {
		t.Fatal(err)
	}
	for i, row := range rows {
		if err := w.Add(0, i+1, 1, row); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := seal.NewReader(&b)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	for i := 0; ; i++ {
		e, err := r.Next()
		if err == io.EOF {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		use(i, e)
	}
}

// randomRows returns logits like those of language models, of the given spread, and the same
// with noise. About one token in 30 is a candidate, with a higher logit.
func randomRows(n, vocab int, spread, noise float64) (base, quant [][]float32) {
	rng := rand.New(rand.NewPCG(7, math.Float64bits(spread+noise)))
	for range n {
		b, q := make([]float32, vocab), make([]float32, vocab)
		for id := range b {
			x := rng.NormFloat64() * spread
			if rng.IntN(30) == 0 {
				x += 2 * spread * rng.ExpFloat64()
			}
			b[id] = float32(x)
			q[id] = float32(x + rng.NormFloat64()*noise)
		}
		base, quant = append(base, b), append(quant, q)
	}
	return base, quant
}

func TestLowerBound(t *testing.T) {
	for _, c := range []struct {
		name                string
		vocab, topK         int
		minP, spread, noise float64
		least               float64 // share of the true KLD, all rows together
	}{
		{"like a model", 5000, 64, 0, 2.5, 0.3, 0.95},
		{"like a damaged model", 5000, 64, 0, 2.5, 2, 0.95},
		{"least probability", 5000, 1000, 1e-4, 2, 0.3, 0.95},
		{"flat", 5000, 64, 0, 0.1, 0.3, 0},
		{"peaked", 5000, 64, 0, 12, 0.3, 0.7},
		{"certain", 1000, 64, 0, 300, 5, 0},
		{"opposite", 1000, 64, 0, 5, 300, 0.9},
		{"nearly equal", 5000, 64, 0, 2.5, 1e-3, 0},
		{"no tail", 64, 64, 0, 2, 0.5, 0.99},
		{"five tokens", 5, 5, 0, 2, 0.5, 0.99},
	} {
		t.Run(c.name, func(t *testing.T) {
			base, quant := randomRows(200, c.vocab, c.spread, c.noise)
			var bounds, truth, fullKLD, trueKLD float64
			var drawn []float64 // errors of estimates from drawn tokens
			sealed(t, base, c.topK, c.minP, 100, func(i int, e *seal.Entry) {
				b, err := LowerBound(e, quant[i])
				if err != nil {
					t.Fatal(err)
				}
				want, err := Compare(base[i], quant[i], e.Token)
				if err != nil {
					t.Fatal(err)
				}
				if !(b.KLD >= 0 && b.KLD <= want.KLD) {
					t.Errorf("row %d: bound %v, KLD %v", i, b.KLD, want.KLD)
				}
				if e.Full != nil {
					if !(math.Abs(b.Estimated-want.KLD) <= 0.02*(want.KLD+math.Sqrt(2*want.KLD))+5e-4) {
						t.Errorf("row %d: KLD %v from the full row, want %v", i, b.Estimated, want.KLD)
					}
					fullKLD += b.Estimated
					trueKLD += want.KLD
				} else {
					drawn = append(drawn, b.Estimated-want.KLD)
				}
				bounds += b.KLD
				truth += want.KLD
				// The rest is as from the base's logits, Base in float32.
				if math.Abs(b.Base-want.Base) > 1e-7*want.Base+1e-12 || math.Abs(b.DeltaP-want.DeltaP) > 1e-6 {
					t.Errorf("row %d: base %v, Δp %v, want %v and %v", i, b.Base, b.DeltaP, want.Base, want.DeltaP)
				}
				want.Index, want.Context = i+1, 1
				want.KLD, want.Base, want.DeltaP = b.KLD, b.Base, b.DeltaP
				if math.Abs(want.Quant-b.Quant) < 1e-12*(1+want.Quant) {
					want.Quant = b.Quant
				}
				if b.Position != want {
					t.Errorf("row %d: %+v, want %+v", i, b.Position, want)
				}
			})
			if math.Abs(fullKLD-trueKLD) > 0.005*trueKLD+100*5e-5 {
				t.Errorf("KLD of the full rows %v, want %v", fullKLD, trueKLD)
			}
			if m := sample.MeanOf(len(drawn),
				func(i int) float64 { return drawn[i] }); !(math.Abs(m.Value()) <= 4*m.SE()+5e-5) {
				t.Errorf("estimates from drawn tokens are off by %v ± %v", m.Value(), m.SE())
			}
			if bounds < c.least*truth {
				t.Errorf("the bounds have %.4f of the KLD, want %v", bounds/truth, c.least)
			}
			t.Logf("the bounds have %.4f of the KLD %.4g", bounds/truth, truth/200)
		})
	}
}

func TestLowerBoundOfEqual(t *testing.T) {
	for _, spread := range []float64{0, 0.1, 2.5, 12, 300} {
		base, _ := randomRows(100, 2000, spread, 0)
		sealed(t, base, 64, 0, 10, func(i int, e *seal.Entry) {
			b, err := LowerBound(e, base[i])
			if err != nil {
				t.Fatal(err)
			}
			if b.KLD != 0 || !b.SameTop || b.Top5 != TopK || math.Abs(b.Estimated) > 5e-3 {
				t.Errorf("spread %v, row %d: %+v", spread, i, b)
			}
		})
	}
}

// The least KLD is below that of any distribution in the ranges, and some
// distribution there has it.
func TestLeastKLD(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for trial := range 2000 {
		n := 2 + rng.IntN(6)
		p, q := make([]float64, n), make([]float64, n)
		var sumP, sumQ float64
		for i := range p {
			p[i], q[i] = math.Exp(3*rng.NormFloat64()), math.Exp(3*rng.NormFloat64())
			sumP += p[i]
			sumQ += q[i]
		}
		parts := make([]vocabPart, n)
		width := math.Exp(-8 * rng.Float64())
		kld := 0.0
		for i := range parts {
			p[i] /= sumP
			q[i] /= sumQ
			parts[i] = vocabPart{p[i] * (1 - width*rng.Float64()), min(1, p[i]*(1+width*rng.Float64())), math.Log(q[i])}
			if rng.IntN(8) == 0 {
				parts[i].low = 0
			}
			kld += p[i] * math.Log(p[i]/q[i])
		}
		least := leastKLD(parts)
		if least > kld {
			t.Fatalf("trial %d: %v, but one with %v is in the ranges", trial, least, kld)
		}
		// The p that has it: q scaled, cut to the ranges.
		from, to := -60.0, 60.0
		for range 200 {
			x, sum := (from+to)/2, 0.0
			for i := range parts {
				sum += max(parts[i].low, min(parts[i].high, q[i]*math.Exp(x)))
			}
			if sum < 1 {
				from = x
			} else {
				to = x
			}
		}
		sum, attained := 0.0, 0.0
		for i := range parts {
			v := max(parts[i].low, min(parts[i].high, q[i]*math.Exp(to)))
			sum += v
			if v > 0 {
				attained += v * math.Log(v/q[i])
			}
		}
		if math.Abs(sum-1) > 1e-9 || math.Abs(attained-least) > 1e-8*(1+attained) {
			t.Fatalf("trial %d: %v, but a p of the sum %v has %v", trial, least, sum, attained)
		}
	}
}

func TestLowerBoundErrors(t *testing.T) {
	base, quant := randomRows(1, 100, 2, 0.1)
	sealed(t, base, 64, 0, 1, func(_ int, e *seal.Entry) {
		nan := append([]float32(nil), quant[0]...)
		nan[99] = float32(math.NaN())
		for _, c := range []struct {
			name  string
			quant []float32
			want  string
		}{
			{"NaN", nan, "quantized model: the logit of token 99 is NaN"},
			{"vocabulary", append(nan, 0),
				"vocabularies differ: the seal has 100 tokens, the quantized model gives 101 logits"},
			{"too few", quant[0][:4], "4 logits"},
		} {
			if _, err := LowerBound(e, c.quant); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: error %v, want %s", c.name, err, c.want)
			}
		}
		e.Full = nil
		if _, err := LowerBound(e, quant[0][:50]); err == nil ||
			!strings.Contains(err.Error(), "of the 50 that the model knows") {
			t.Errorf("small vocabulary: %v", err)
		}
		e.Token = 100
		if _, err := LowerBound(e, quant[0]); err == nil ||
			!strings.Contains(err.Error(), "token 100 is not among the 100") {
			t.Errorf("token: %v", err)
		}
	})
}

// The intervals of SealedKLD contain the truth in about 95 % of samples.
func TestSealedKLD(t *testing.T) {
	const trials, n = 2000, 2000
	rng := rand.New(rand.NewPCG(5, 6))
	const wantKLD, wantShare = 0.1, 0.9
	var shares, klds int
	p := make([]Bounded, n)
	for range trials {
		for i := range p {
			true := wantKLD * rng.ExpFloat64()
			bound := true * (wantShare + 0.1*(2*rng.Float64()-1))
			// Of what is missing a drawn token tells a multiple, 1 on average, that varies a lot.
			p[i] = Bounded{Estimated: bound + (true-bound)*(1+5*rng.NormFloat64()), Position: Position{KLD: bound}}
		}
		kld, share, _ := SealedKLD(p)
		if share.Low <= wantShare && wantShare <= share.High {
			shares++
		}
		if kld.Low <= wantKLD && wantKLD <= kld.High {
			klds++
		}
	}
	for name, got := range map[string]int{"share": shares, "KLD": klds} {
		if c := float64(got) / trials; c < 0.93 || c > 0.97 {
			t.Errorf("%s: the 95 %% interval has the truth in %.3f of the samples", name, c)
		}
	}
}

// A least mean is above the mean in at most the share of samples that was allowed, be the numbers ever so skewed, and
// not far below it in most. The tail's numbers scatter like these: many near 0, few large.
func TestLeastMean(t *testing.T) {
	const trials, n = 2000, 500
	rng := rand.New(rand.NewPCG(7, 8))
	for _, c := range []struct {
		name     string
		draw     func(i int) float64 // of the mean 1
		tightest float64             // most samples have at least this
	}{
		{"as χ², in different scales",
			func(i int) float64 { x := rng.NormFloat64(); return x * x * float64(2*(i%5)) / 4 }, 0.65},
		{"lognormal", func(int) float64 { return math.Exp(1.5*rng.NormFloat64() - 1.5*1.5/2) }, 0.6},
		{"one in a hundred", func(int) float64 {
			if rng.IntN(100) == 0 {
				return 100
			}
			return 0
		}, 0},
	} {
		for _, scale := range []float64{1e-4, 0.01, 1} {
			above, near := 0, 0
			x := make([]float64, n)
			for range trials {
				for i := range x {
					x[i] = scale * c.draw(i)
				}
				least := leastMean(n, func(i int) float64 { return x[i] }, 0.5)
				if least > scale {
					above++
				}
				if least >= c.tightest*scale {
					near++
				}
			}
			// Markov's inequality leaves room: at a risk of a half 2 % are seen, and 10 % would be suspicious.
			if share := float64(above) / trials; share > 0.1 {
				t.Errorf("%s × %v: above the mean in %.3f of the samples", c.name, scale, share)
			}
			if float64(near) < 0.9*trials {
				t.Errorf("%s × %v: at least %v of the mean in %.3f of the samples alone", c.name, scale, c.tightest,
					float64(near)/trials)
			}
		}
	}
	if got := leastMean(3, func(int) float64 { return 0 }, LeastRisk); got != 0 {
		t.Errorf("of zeros: %v", got)
	}
}

// Over all tokens that can be drawn, what they tell is on average what the KLD has beyond the bound, less what rounding
// may hide.
func TestDrawnKLD(t *testing.T) {
	base, quant := randomRows(40, 600, 3, 0.5)
	sealed(t, base, 16, 0, 0, func(i int, e *seal.Entry) {
		want, err := Compare(base[i], quant[i], 0)
		if err != nil {
			t.Fatal(err)
		}
		p, sum := make([]float64, len(base[i])), 0.0
		for id, l := range base[i] {
			p[id] = math.Exp(float64(l))
			sum += p[id]
		}
		for id := range p {
			p[id] /= sum
		}
		tail := 1.0
		for _, l := range e.Top {
			tail -= p[l.ID]
			p[l.ID] = 0
		}
		var mean, bound float64
		for id := range p {
			if p[id] == 0 {
				continue
			}
			e.Drawn = seal.Drawn{ID: int32(id), Code: uint16(math.Round(-math.Log(p[id]) / seal.Step))}
			b, err := LowerBound(e, quant[i])
			if err != nil {
				t.Fatal(err)
			}
			mean += p[id] / tail * b.Drawn
			bound = b.KLD
		}
		// Two roundings of half a step each move x, about 0.5, by at most a step.
		if most := want.KLD - bound; mean > most || mean < 0.97*most-0.001 {
			t.Errorf("row %d: the drawn tokens tell %v on average, the KLD %v is %v above the bound", i, mean, want.KLD,
				most)
		}
	})
}
