package runtime

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
)

// refusedConfigs are changes that are refused though transformers reads them, by what the error says.
var refusedConfigs = map[string]string{
	"tiny-phi3/architectures: missing":                           `"architectures" is missing`,
	"tiny-phi3/architectures: null":                              `"architectures" is missing`,
	`tiny-phi3/architectures: ["Phi3Model"]`:                     "architecture Phi3Model is not supported",
	`tiny-phi3/hidden_act: "swish"`:                              `hidden_act is "swish"`,
	`tiny-phi3/hidden_act: "gelu"`:                               `hidden_act is "gelu"`,
	"tiny-phi3/sliding_window: 0":                                "sliding_window is 0, expected an integer from 1",
	"tiny-phi3/sliding_window: -1":                               "sliding_window is -1",
	"tiny-phi3/max_position_embeddings: missing":                 "max_position_embeddings is missing",
	"tiny-phi3/partial_rotary_factor: 0":                         "partial_rotary_factor is 0",
	"tiny-phi3/attention_bias: true":                             "attention_bias is true",
	"tiny-phi3/mlp_bias: true":                                   "mlp_bias is true",
	"tiny-phi3/num_hidden_layers: 3":                             "model.layers.3.input_layernorm.weight does not",
	"tiny-phi3/longrope: yarn with factors":                      `rope_type "yarn" is not supported`,
	"tiny-phi3/longrope: type against rope_type":                 `rope_type is "default" but there are long_factor`,
	"tiny-phi3/longrope: rope_parameters, original inside only":  "where transformers passes over it",
	`tiny-phi2/hidden_act: "gelu"`:                               `hidden_act is "gelu"`,
	`tiny-phi2/hidden_act: "gelu_pytorch_tanh"`:                  `hidden_act is "gelu_pytorch_tanh"`,
	`tiny-phi2/rope_scaling: {"type": "linear", "factor": 2.0}`:  `rope_type "linear" is not supported`,
	`tiny-phi2/rope_scaling: {"type": "dynamic", "factor": 2.0}`: `rope_type "dynamic" is not supported`,
	"tiny-phimoe/num_experts_per_tok: 1":                         "num_experts_per_tok is 1",
	"tiny-phimoe/num_experts_per_tok: 4":                         "num_experts_per_tok is 4",
	"tiny-phimoe/attention_bias: missing":                        "self_attn.k_proj.bias does not belong",
	"tiny-phimoe/attention_bias: false":                          "self_attn.k_proj.bias does not belong",
	"tiny-phimoe/lm_head_bias: missing":                          "lm_head.bias does not belong",
	"tiny-phimoe/lm_head_bias: false":                            "lm_head.bias does not belong",
}

// configChange is a change of a configuration, and what transformers makes of it.
type configChange struct {
	Base, Name, Error, Logits string
	Edits                     []testmodel.Edit
	EOS                       []int32
}

// The tiny models with changed configurations against transformers: the same logits, or a refusal that names the file.
func TestChangedConfigs(t *testing.T) {
	var golden struct {
		Logits  map[string]string
		Changes []configChange
	}
	if err := json.Unmarshal(testmodel.Read(t, "../testdata/golden/config-mutations.json"), &golden); err != nil {
		t.Fatal(err)
	}
	dirs := make(map[string]string)
	for i, c := range golden.Changes {
		if testing.Short() && i%8 != 0 {
			continue
		}
		if dirs[c.Base] == "" {
			dirs[c.Base] = testmodel.Copy(t, c.Base)
		}
		t.Run(c.Base+"/"+c.Name, func(t *testing.T) {
			dir := dirs[c.Base]
			before := make(map[string][]byte)
			for _, name := range []string{"config.json", "generation_config.json"} {
				before[name] = testmodel.Read(t, filepath.Join(dir, name))
			}
			for _, e := range c.Edits {
				e.Apply(t, dir)
			}
			c.check(t, dir, golden.Logits[c.Logits])
			for name, data := range before {
				testmodel.Write(t, filepath.Join(dir, name), data)
			}
		})
	}
}

func (c configChange) check(t *testing.T, dir, golden string) {
	m, err := Open(t.Context(), dir, Options{Float32: true, Cache: CacheF32})
	var tok *tokenizer.Tokenizer
	if err == nil {
		defer func() { _ = m.Close() }() // only read from
		tok, err = tokenizer.Open(dir)
	}
	what, refused := refusedConfigs[c.Base+"/"+c.Name]
	if err != nil {
		var e *formats.Error
		if !errors.As(err, &e) || e.Path == "" {
			t.Errorf("the error names no file: %v", err)
		}
		if c.Error == "" && (!refused || !strings.Contains(err.Error(), what)) {
			t.Errorf("refused: %v", err)
		}
		return
	}
	if c.Error != "" {
		return // transformers has no answer to compare with
	}
	if refused {
		t.Errorf("not refused, expected an error with %q", what)
	}
	for _, id := range c.EOS {
		if !slices.Contains(tok.StopIDs(), id) {
			t.Errorf("stop ids %v, expected %d among them", tok.StopIDs(), id)
		}
	}
	tokens := make([]int32, 140)
	for i := range tokens {
		tokens[i] = int32((7*i*i + 3*i) % min(m.VocabSize(), 300))
	}
	got, want := allLogits(t, sequence(t, m), tokens), floats(t, golden)
	n := len(want) / 2
	for i, pos := range []int{20, 139} {
		row := make([]float32, n)
		for k := range row {
			row[k] = got[pos][4*k]
		}
		if e := nmse(row, want[i*n:(i+1)*n]); !(e <= maxNMSE) {
			t.Errorf("position %d: NMSE %.2g", pos, e)
		}
	}
}
