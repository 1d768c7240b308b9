package arch

import (
	"strings"
	"testing"
)

// metadataOf returns the keys of a published model with changes: a nil value takes the key away.
func metadataOf(t *testing.T, name string, changes map[string]any) func(string) (any, bool) {
	t.Helper()
	c := mustParse(t, published[name])
	kv := map[string]any{"general.architecture": c.Arch.Name}
	for _, p := range c.Metadata() {
		kv[p.Key] = p.Value
	}
	for key, v := range changes {
		if kv[c.Arch.Name+"."+key] = v; v == nil {
			delete(kv, c.Arch.Name+"."+key)
		}
	}
	return func(key string) (any, bool) { v, ok := kv[key]; return v, ok }
}

// A file that says something that changes the output is computed so, or refused.
func TestKeysCount(t *testing.T) {
	for name, changes := range map[string]map[string]any{
		"rope.scaling.type is \"yarn\", expected linear, longrope or none": {"rope.scaling.type": "yarn"},
		"rope.scaling.factor is -2":                                        {"rope.scaling.factor": float32(-2)},
		"rope.scaling.factor is 1e-45, expected another number":            {"rope.scaling.factor": float32(1e-45)},
		"attention.key_length is 64, expected":                             {"attention.key_length": uint32(64)},
		"attention.value_length is 64, expected":                           {"attention.value_length": uint32(64)},
	} {
		for _, model := range []string{"Phi-3-mini-4k", "Phi-2", "Phi-3-small-8k", "Phi-3.5-MoE"} {
			if changes["attention.key_length"] != nil && model == "Phi-3.5-MoE" {
				continue // there it counts
			}
			_, err := FromMetadata(metadataOf(t, model, changes))
			if err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s: error %v, expected %q", model, err, name)
			}
		}
	}
	for _, model := range []string{"Phi-3-mini-4k", "Phi-2", "Phi-3-small-8k"} {
		for _, kind := range []any{nil, "linear", "none"} {
			c, err := FromMetadata(metadataOf(t, model, map[string]any{
				"rope.scaling.type": kind, "rope.scaling.factor": float32(4),
			}))
			want := 0.25
			if kind == "none" {
				want = 1
			}
			if err != nil || c.RopeScale != want {
				t.Fatalf("%s, %v: %+v, %v", model, kind, c, err)
			}
			again := map[string]any{}
			for _, p := range c.Metadata() {
				again[p.Key] = p.Value
			}
			if f, ok := again[c.Arch.Name+".rope.scaling.factor"]; ok != (want != 1) || ok && f != float32(4) {
				t.Errorf("%s, %v: the factor is written as %v", model, kind, f)
			}
		}
	}
}

// No program but this one writes Phi-3-small, and it leaves none of these out.
func TestPhi3SmallNeeds(t *testing.T) {
	for _, key := range []string{"attention.scale", "embedding_scale", "logit_scale", "rope.freq_base"} {
		_, err := FromMetadata(metadataOf(t, "Phi-3-small-8k", map[string]any{key: nil}))
		if err == nil || !strings.Contains(err.Error(), "phi3small."+key+" is missing") {
			t.Errorf("without %s: error %v", key, err)
		}
	}
}

// Numbers that follow from others must be float32 numbers too: a GGUF file has them so.
func TestFactorsFit(t *testing.T) {
	base := strings.TrimSuffix(strings.TrimSpace(published["Phi-3-small-8k"]), "}")
	for field, want := range map[string]string{
		`"mup_embedding_multiplier":1e300`:  "mup_embedding_multiplier is 1e300",
		`"mup_embedding_multiplier":1e-300`: "mup_embedding_multiplier is 1e-300",
		`"mup_width_multiplier":1e-45`:      "mup_width_multiplier is 1e-45",
		`"mup_attn_multiplier":1e-45`:       "mup_attn_multiplier is 1e-45",
		`"rope_position_scale":1e-45`:       "rope_position_scale is 1e-45",
	} {
		if _, err := ParseConfig([]byte(base + "," + field + "}")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v", field, err)
		}
	}
}
