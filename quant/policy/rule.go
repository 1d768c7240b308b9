package policy

import (
	"strings"

	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/quant"
)

// rules are the rules for each role, of which the first that holds decides. Where none does, the tensor gets the
// file type's base type.
type rules map[role][]rule

// rule gives a type to the tensors for which when holds. importance says that importance is at hand.
type rule struct {
	typ  quant.Type
	when func(t Tensor, importance bool) bool
}

// role is what a matrix is for.
type role string

// The roles that have rules.
const (
	attnV      role = "attn_v" // alone or fused, in attn_qkv
	attnK      role = "attn_k"
	attnOutput role = "attn_output"
	ffnDown    role = "ffn_down" // of one feed-forward layer, or of stacked experts
	attnQ      role = "attn_q"
	ffnGate    role = "ffn_gate" // as ffnDown
	ffnUp      role = "ffn_up"   // as ffnDown
	embedding  role = "token_embd"
)

// router is the role of the matrix that chooses experts.
const router role = "ffn_gate_inp"

// roleOf returns the role of a tensor: its name without layer and ".weight".
func roleOf(name string) role {
	_, name = arch.CutBlock(name)
	switch r := role(strings.TrimSuffix(name, ".weight")); r {
	case "attn_qkv":
		return attnV
	case "ffn_down_exps", "ffn_gate_exps", "ffn_up_exps":
		return r[:len(r)-len("_exps")]
	default:
		return r
	}
}

// common are the rules that come before those of the file types, but for those of twoBits.
var common = rules{
	attnV: {{quant.Q8_0, eightExperts}},
	attnK: {{quant.Q8_0, eightExperts}},
}

// twoBits are the file types whose own rules say what models of eight experts get.
var twoBits = []FileType{MostlyIQ2_XS, MostlyIQ2_S, MostlyIQ2_M}

func always(Tensor, bool) bool { return true }

func firstEighth(t Tensor, _ bool) bool { return t.Layer < t.Layers/8 }

func firstSixteenth(t Tensor, _ bool) bool { return t.Layer < t.Layers/16 }

func firstLayers(n int) func(Tensor, bool) bool {
	return func(t Tensor, _ bool) bool { return t.Layer < n }
}

// endsAndThirds holds in the first and the last eighth of the layers and in every third between.
func endsAndThirds(t Tensor, _ bool) bool {
	return t.Layer < t.Layers/8 || t.Layer >= 7*t.Layers/8 || (t.Layer-t.Layers/8)%3 == 2
}

func firstEighthWithImportance(t Tensor, importance bool) bool {
	return importance && firstEighth(t, importance)
}

func firstEighthWithoutImportance(t Tensor, importance bool) bool {
	return !importance && firstEighth(t, importance)
}

func withoutImportance(_ Tensor, importance bool) bool { return !importance }

// betweenEighths holds between the first and the last eighth of the layers.
func betweenEighths(t Tensor, _ bool) bool { return t.Layer >= t.Layers/8 && t.Layer < 7*t.Layers/8 }

func endsAndThirdsOfEightExperts(t Tensor, importance bool) bool {
	return eightExperts(t, importance) && endsAndThirds(t, importance)
}

// fourHeadsAKey holds where keys and values are small: at least four query heads share one.
func fourHeadsAKey(t Tensor, _ bool) bool { return t.GQA >= 4 }

func fourExperts(t Tensor, _ bool) bool { return t.Experts >= 4 }

// eightExperts holds in models of the shape of Mixtral, whose attention is a small part of all weights.
func eightExperts(t Tensor, _ bool) bool { return t.Experts == 8 }
