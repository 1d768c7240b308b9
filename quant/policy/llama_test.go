package policy

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/quant"
)

// llamaModels are the models of testdata/make/golden_types.py.
var llamaModels = map[string]struct{ layers, heads, kvHeads, experts, width, ff int }{
	"phi2, 8 layers":                         {8, 4, 4, 0, 256, 512},
	"phi2, 32 layers":                        {32, 4, 4, 0, 256, 256},
	"phi2, narrow":                           {24, 2, 2, 0, 32, 96},
	"phimoe, 16 experts":                     {8, 8, 2, 16, 256, 256},
	"phimoe, 32 layers":                      {32, 4, 2, 4, 32, 32},
	"phimoe, 8 experts":                      {8, 8, 2, 8, 256, 512},
	"phimoe, 8 experts, a key for each head": {17, 4, 4, 8, 256, 256},
	"phimoe, 8 experts, narrow":              {9, 4, 1, 8, 32, 96},
}

// Every tensor of Phi-2 and PhiMoE gets the type that llama-quantize gives it: testdata/llama.txt is what that printed,
// for every file type.
func TestLikeLlamaQuantize(t *testing.T) {
	text, err := os.ReadFile("testdata/llama.txt")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	var header string
	var p *Policy
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if !strings.HasPrefix(line, " ") {
			header = line
			name, model, _ := strings.Cut(line, ", ")
			f, err := FileTypeByName(name)
			if err != nil {
				t.Fatal(err)
			}
			_, important := strings.CutSuffix(model, ", imatrix")
			p = &Policy{FileType: f, Imatrix: important}
			seen[line] = true
			continue
		}
		_, model, _ := strings.Cut(strings.TrimSuffix(header, ", imatrix"), ", ")
		want, names, _ := strings.Cut(strings.TrimSpace(line), " = ")
		for _, name := range strings.Fields(names) {
			if got := llamaTypes(p, model, name); got != want {
				t.Errorf("%s: %s has %s, llama-quantize gives it %s", header, name, got, want)
			}
		}
	}
	for _, f := range FileTypes() {
		for model := range llamaModels {
			if !seen[f.String()+", "+model] {
				t.Errorf("testdata/llama.txt has no %s, %s", f, model)
			}
		}
	}
}

// llamaTypes says from which layer on a tensor of a model has which type. name is without the layer.
func llamaTypes(p *Policy, model, name string) string {
	m := llamaModels[model]
	tensor := Tensor{
		Name: name, Source: quant.F32, Cols: m.width, Matrix: !strings.HasSuffix(name, ".bias") &&
			!strings.Contains(name, "norm"),
		Layers: m.layers, GQA: m.heads / m.kvHeads, Experts: m.experts,
	}
	if strings.HasPrefix(name, "ffn_down") {
		tensor.Cols = m.ff
	}
	layers := m.layers
	if strings.HasPrefix(name, "output") || strings.HasPrefix(name, "token_embd") {
		layers = 1
	}
	var changes []string
	var last quant.Type
	for layer := range layers {
		if tensor.Layer = layer; layers > 1 {
			tensor.Name = "blk." + strconv.Itoa(layer) + "." + name
		}
		if typ := p.Type(tensor); layer == 0 || typ != last {
			changes, last = append(changes, fmt.Sprintf("%d:%s", layer, typ)), typ
		}
	}
	return strings.Join(changes, " ")
}
