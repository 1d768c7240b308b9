package arch

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
)

// published holds config.json's of the supported models, cut down to what defines them.
var published = map[string]string{
	"Phi-3-mini-4k": `{"architectures":["Phi3ForCausalLM"],"hidden_size":3072,"num_hidden_layers":32,
		"num_attention_heads":32,"num_key_value_heads":32,
		"intermediate_size":8192,"hidden_act":"silu","vocab_size":32064,"max_position_embeddings":4096,
		"original_max_position_embeddings":4096,
		"rms_norm_eps":1e-05,"rope_theta":10000.0,"rope_scaling":null,"sliding_window":2047,
		"tie_word_embeddings":false,"attention_bias":false}`,
	"Phi-3-medium-4k": `{"architectures":["Phi3ForCausalLM"],"hidden_size":5120,"num_hidden_layers":40,
		"num_attention_heads":40,"num_key_value_heads":10,
		"intermediate_size":17920,"vocab_size":32064,"max_position_embeddings":4096,
		"original_max_position_embeddings":4096,"rms_norm_eps":1e-05,"sliding_window":2047}`,
	"Phi-3-mini-128k": `{"architectures":["Phi3ForCausalLM"],"hidden_size":3072,"num_hidden_layers":32,
		"num_attention_heads":32,"num_key_value_heads":32,
		"intermediate_size":8192,"vocab_size":32064,"max_position_embeddings":131072,
		"original_max_position_embeddings":4096,"rope_theta":10000.0,
		"rope_scaling":{"type":"su","short_factor":` + ones(48) + `,"long_factor":` + ones(48) + `},
		"sliding_window":262144}`,
	"Phi-4": `{"architectures":["Phi3ForCausalLM"],"hidden_size":5120,"num_hidden_layers":40,
		"num_attention_heads":40,"num_key_value_heads":10,
		"intermediate_size":17920,"vocab_size":100352,"max_position_embeddings":16384,
		"original_max_position_embeddings":16384,"rope_theta":250000,"sliding_window":null}`,
	"Phi-4-mini": `{"architectures":["Phi3ForCausalLM"],"hidden_size":3072,"num_hidden_layers":32,
		"num_attention_heads":24,"num_key_value_heads":8,
		"intermediate_size":8192,"vocab_size":200064,"max_position_embeddings":131072,
		"original_max_position_embeddings":4096,"rope_theta":10000.0,
		"partial_rotary_factor":0.75,"rope_scaling":{"type":"longrope","short_factor":` + ones(48) + `,
		"long_factor":` + ones(48) + `},
		"sliding_window":262144,"tie_word_embeddings":true}`,
	"Phi-2": `{"architectures":["PhiForCausalLM"],"hidden_size":2560,"num_hidden_layers":32,"num_attention_heads":32,
		"num_key_value_heads":32,"intermediate_size":10240,"hidden_act":"gelu_new","vocab_size":51200,
		"max_position_embeddings":2048,"layer_norm_eps":1e-05,"partial_rotary_factor":0.4,"rope_theta":10000.0,
		"rope_scaling":null,"qk_layernorm":false,"tie_word_embeddings":false}`,
	"Phi-1.5": `{"architectures":["PhiForCausalLM"],"hidden_size":2048,"num_hidden_layers":24,"num_attention_heads":32,
		"num_key_value_heads":null,"intermediate_size":8192,"hidden_act":"gelu_new","vocab_size":51200,
		"max_position_embeddings":2048,"layer_norm_eps":1e-05,"partial_rotary_factor":0.5}`,
	"Phi-3-small-8k": `{"architectures":["Phi3SmallForCausalLM"],"blocksparse_block_size":64,
		"blocksparse_homo_head_pattern":false,"blocksparse_num_local_blocks":16,"blocksparse_vert_stride":8,
		"dense_attention_every_n_layers":2,"ff_intermediate_size":14336,"gegelu_limit":20.0,
		"hidden_act":"gegelu","hidden_size":4096,"layer_norm_epsilon":1e-05,
		"max_position_embeddings":8192,"mup_attn_multiplier":1.0,"mup_embedding_multiplier":10.0,
		"mup_use_scaling":true,"mup_width_multiplier":8.0,"num_attention_heads":32,"num_hidden_layers":32,
		"num_key_value_heads":8,"rope_embedding_base":1000000,"rope_position_scale":1.0,"vocab_size":100352}`,
	"Phi-3.5-MoE": `{"architectures":["PhiMoEForCausalLM"],"attention_bias":true,"hidden_act":"silu","hidden_size":4096,
		"intermediate_size":6400,"lm_head_bias":true,"max_position_embeddings":131072,"num_attention_heads":32,
		"num_experts_per_tok":2,"num_hidden_layers":32,"num_key_value_heads":8,"num_local_experts":16,
		"original_max_position_embeddings":4096,"rms_norm_eps":1e-05,"rope_theta":10000.0,
		"rope_scaling":{"type":"longrope","short_factor":` + ones(64) + `,"long_factor":` + ones(64) + `,
		"short_mscale":1.243163121016122,"long_mscale":1.243163121016122,"original_max_position_embeddings":4096},
		"router_jitter_noise":0.01,"sliding_window":131072,"tie_word_embeddings":false,"vocab_size":32064}`,
	"Phi-tiny-MoE": `{"architectures":["PhiMoEForCausalLM"],"attention_bias":true,"head_dim":128,"hidden_act":"silu",
		"hidden_size":4096,"intermediate_size":448,"lm_head_bias":true,"max_position_embeddings":4096,
		"num_attention_heads":16,"num_experts_per_tok":2,"num_hidden_layers":32,"num_key_value_heads":4,
		"num_local_experts":16,"rms_norm_eps":1e-05,"rope_theta":10000.0,"router_jitter_noise":0.01,
		"sliding_window":2047,"vocab_size":32064}`,
}

func ones(n int) string { return "[" + strings.TrimSuffix(strings.Repeat("1.0,", n), ",") + "]" }

func mustParse(t *testing.T, s string) *Config {
	t.Helper()
	c, err := ParseConfig([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func params(c *Config) (n, tensors uint64) {
	for _, t := range c.Tensors() {
		size := uint64(1)
		for _, d := range t.Shape {
			size *= d
		}
		n += size
	}
	return n, uint64(len(c.Tensors()) + len(c.FactorTensors()))
}

// Every architecture has its names, its functions, and a published configuration that the tests here read.
func TestArchs(t *testing.T) {
	tested := map[*Arch]bool{}
	for _, config := range published {
		tested[mustParse(t, config).Arch] = true
	}
	for _, a := range Archs {
		if a.Name == "" || len(a.HF) == 0 || a.For == "" {
			t.Errorf("%q lacks a name: %q, for %q", a.Name, a.HF, a.For)
		}
		if a.parse == nil || a.block == nil || a.head == nil || a.metadata == nil || a.fromMetadata == nil {
			t.Errorf("%s lacks a function", a.Name)
		}
		if !tested[a] {
			t.Errorf("%s: published has no configuration of it", a.Name)
		}
	}
}

// The published parameter counts, and the tensor counts of published GGUF files.
func TestPublished(t *testing.T) {
	for name, want := range map[string]struct{ params, tensors uint64 }{
		"Phi-3-mini-4k":   {3_821_079_552, 195},
		"Phi-3-mini-128k": {3_821_079_552, 197},
		"Phi-3-medium-4k": {13_960_238_080, 243},
		"Phi-4":           {14_659_507_200, 243},
		"Phi-4-mini":      {3_836_021_760, 196},
		"Phi-2":           {2_779_683_840, 453},
		"Phi-3-small-8k":  {7_392_272_384, 579},
		"Phi-3.5-MoE":     {41_873_153_344, 519},
	} {
		c := mustParse(t, published[name])
		if n, tensors := params(c); n != want.params || tensors != want.tensors {
			t.Errorf("%s: %d parameters in %d tensors, want %d in %d", name, n, tensors, want.params, want.tensors)
		}
	}
}

func TestNumbers(t *testing.T) {
	mini := mustParse(t, published["Phi-4-mini"])
	if mini.RotaryDims != 96 || mini.HeadDim != 128 || !mini.Tied {
		t.Errorf("Phi-4-mini: %+v", mini)
	}
	if got := mini.LongRope.AttnFactor; math.Abs(got-1.1902380714238083) > 1e-15 {
		t.Errorf("attention factor %.17g", got)
	}
	if phi4 := mustParse(t, published["Phi-4"]); phi4.SlidingWindow != 0 || phi4.RopeTheta != 250000 ||
		phi4.LongRope != nil {
		t.Errorf("Phi-4: %+v", phi4)
	}
}

// transformers 5 moves the RoPE numbers into rope_parameters.
func TestRopeParameters(t *testing.T) {
	old := mustParse(t, published["Phi-4-mini"])
	var fields map[string]any
	if err := json.Unmarshal([]byte(published["Phi-4-mini"]), &fields); err != nil {
		t.Fatal(err)
	}
	rope := fields["rope_scaling"].(map[string]any)
	rope["rope_type"] = rope["type"]
	for _, key := range []string{"rope_theta", "partial_rotary_factor", "original_max_position_embeddings"} {
		rope[key] = fields[key]
		delete(fields, key)
	}
	delete(rope, "type")
	delete(fields, "rope_scaling")
	fields["rope_parameters"] = rope
	b, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	got := mustParse(t, string(b))
	if fmt.Sprint(got.Metadata()) != fmt.Sprint(old.Metadata()) ||
		fmt.Sprint(got.FactorTensors()) != fmt.Sprint(old.FactorTensors()) {
		t.Errorf("rope_parameters gives %v, rope_scaling %v", got.Metadata(), old.Metadata())
	}
}

// What Metadata writes, FromMetadata reads.
func TestMetadataRoundTrip(t *testing.T) {
	for name, config := range published {
		c := mustParse(t, config)
		kv := map[string]any{"general.architecture": c.Arch.Name}
		for _, p := range c.Metadata() {
			kv[p.Key] = p.Value
		}
		got, err := FromMetadata(func(key string) (any, bool) { v, ok := kv[key]; return v, ok })
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if fmt.Sprint(got.Metadata()) != fmt.Sprint(c.Metadata()) {
			t.Errorf("%s: %v, want %v", name, got.Metadata(), c.Metadata())
		}
	}
}

// Every field of config.json, made wrong in every way, is refused by name or harmless.
func TestHostileFields(t *testing.T) {
	required := map[string]bool{"architectures": true, "vocab_size": true, "hidden_size": true,
		"intermediate_size": true,
		"num_hidden_layers": true, "num_attention_heads": true, "max_position_embeddings": true}
	free := map[string]bool{} // fields that any value of the right type suits
	for name, config := range published {
		var fields map[string]any
		if err := json.Unmarshal([]byte(config), &fields); err != nil {
			t.Fatal(err)
		}
		for key, good := range fields {
			for _, bad := range []any{
				nil, 0, -1, 1.5, 1e300, int64(1 << 40), "x", "", true, []any{}, []any{1}, map[string]any{},
				map[string]any{"type": 7},
			} {
				fields[key] = bad
				b, err := json.Marshal(fields)
				if err != nil {
					t.Fatal(err)
				}
				c, err := ParseConfig(b)
				_, isString := bad.(string)
				switch {
				case err != nil && !strings.Contains(err.Error(), key) && !related(err, key):
					t.Errorf("%s: %s = %v: the error does not name it: %v", name, key, bad, err)
				case err == nil && bad == nil && required[key]:
					t.Errorf("%s: accepted without %s", name, key)
				case err == nil && isString && !free[key] && bad != "":
					t.Errorf("%s: %s = %q accepted", name, key, bad)
				case err == nil:
					c.Tensors()
				}
			}
			fields[key] = good
		}
	}
}

// related reports errors that name a field which the broken one contradicts.
func related(err error, key string) bool {
	for _, other := range map[string][]string{
		"hidden_size":             {"rotary dimensions", "long_factor", "short_factor"},
		"num_attention_heads":     {"key-value heads", "rotary dimensions", "long_factor", "short_factor"},
		"num_key_value_heads":     {"key-value heads"},
		"partial_rotary_factor":   {"rotary dimensions", "short_factor", "long_factor"},
		"max_position_embeddings": {"original_max_position_embeddings"},
	}[key] {
		if strings.Contains(err.Error(), other) {
			return true
		}
	}
	return false
}

func TestRefused(t *testing.T) {
	base := strings.TrimSuffix(strings.TrimSpace(published["Phi-3-mini-4k"]), "}")
	for name, c := range map[string]struct{ config, want string }{
		"another architecture": {
			`{"architectures":["Qwen2ForCausalLM"]}`, "Qwen2ForCausalLM is not supported; supported: Phi3ForCausalLM",
		},
		"no architecture":      {`{}`, `"architectures" is missing`},
		"no object":            {`[1]`, "not a JSON object"},
		"trailing data":        {`{} {}`, "after the JSON object"},
		"truncated":            {`{"architectures"`, "not a JSON object"},
		"bias":                 {base + `,"attention_bias":true}`, "attention_bias is true"},
		"activation":           {base + `,"hidden_act":"gelu"}`, `hidden_act is "gelu"`},
		"yarn":                 {base + `,"rope_scaling":{"type":"yarn"}}`, `rope_type "yarn" is not supported`},
		"factors without type": {base + `,"rope_scaling":{"long_factor":[1]}}`, "expected \"longrope\""},
		"few factors": {
			base + `,"rope_scaling":{"type":"longrope","short_factor":[1],"long_factor":[1]}}`, "expected 48",
		},
		"zero factor": {
			base + `,"rope_scaling":{"type":"longrope","short_factor":` + ones(47)[:len(ones(47))-1] +
				`,0],"long_factor":` + ones(48) + `}}`,
			"short_factor[47] is 0",
		},
	} {
		if _, err := ParseConfig([]byte(c.config)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

func FuzzParseConfig(f *testing.F) {
	for _, config := range published {
		f.Add([]byte(config))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseConfig(data)
		if err != nil {
			return
		}
		if c.Layers > 64 {
			return // the list is long, nothing else is new
		}
		for _, tensor := range c.Tensors() {
			for _, d := range tensor.Shape {
				if d == 0 || d > 1<<44 {
					t.Fatalf("tensor %s has shape %v", tensor.HF, tensor.Shape)
				}
			}
		}
	})
}
