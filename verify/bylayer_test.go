package verify

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestByLayer(t *testing.T) {
	base := hashed{vocab: 50}
	windows := Windows(0, tokens(128, 50), Conventions{Name: LlamaPerplexity, Context: 32, Stride: 32, First: 16}, -1)
	layers := []LayerKLD{{Name: "blk.0", Type: "Q4_K", Bytes: 1 << 20, BitsPerWeight: 4.5}, {Name: "blk.1"},
		{Name: "output"}}
	models := []Predictor{hashed{vocab: 50, noise: 0.1}, hashed{vocab: 50}, hashed{vocab: 50, noise: 0.3}}
	var r Report
	if err := r.ByLayer(context.Background(), base, hashed{vocab: 50, noise: 0.4}, LayerKLD{Name: "all at once"},
		models, layers, windows); err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, l := range r.Layers {
		order = append(order, l.Name)
	}
	if !slices.Equal(order, []string{"output", "blk.0", "blk.1"}) || r.LayerTokens != 4*15 {
		t.Errorf("%v of %d tokens", order, r.LayerTokens)
	}
	alone, err := Run(context.Background(), base, models[2], windows, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := Summarize(alone).KLD; r.Layers[0].KLD != want || r.Layers[2].KLD.Value != 0 ||
		!(r.AllLayers.KLD.Value > want.Value) {
		t.Errorf("%+v and %+v, expected %+v first", r.Layers, r.AllLayers, want)
	}
	if l := r.Layers[1]; l.Type != "Q4_K" || l.Bytes != 1<<20 || l.BitsPerWeight != 4.5 {
		t.Errorf("%+v", l)
	}
	var b bytes.Buffer
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"each layer alone in the original, 60 tokens",
		"blk.0        Q4_K  1.0 MiB         4.50", "\n  sum ", "all at once"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	broken := errors.New("broken")
	models[1] = hashed{vocab: 50, fail: broken}
	if err := r.ByLayer(context.Background(), base, base, LayerKLD{}, models, layers, windows); !errors.Is(err,
		broken) {
		t.Errorf("error %v, expected the model's", err)
	}
}
