package runtime

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/quant/policy"
	"github.com/phi3conv/phi3conv/testdata"
)

// hybridLogits returns the logits after tokens 5 and later.
func hybridLogits(t *testing.T, h *Hybrid, tensors []string, tokens []int32) [][]float32 {
	t.Helper()
	var all [][]float32
	err := h.Logits(t.Context(), tensors, tokens, 5, func(i int, l []float32) error {
		if i != 5+len(all) {
			t.Fatalf("logits after token %d, expected %d", i, 5+len(all))
		}
		all = append(all, slices.Clone(l))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func names(m *Model) []string {
	var list []string
	for i := range m.src.Tensors {
		list = append(list, m.src.Tensors[i].GGUF)
	}
	return list
}

// With all tensors replaced a hybrid is the other model, bit by bit, and with none the first.
// With one it is the same whether or not it begins at that tensor's block, and both
// models are as they were.
func TestHybrid(t *testing.T) {
	tied := testdata.Variants()[slices.IndexFunc(
		testdata.Variants(), func(v testdata.Variant) bool { return v.Name == "tied" },
	)]
	rounded := tied
	rounded.DType = map[string]string{"F16": "BF16", "BF16": "F16", "F32": "BF16"}[tied.DType]
	for _, c := range []struct {
		name, base, quant string
		batch             int
	}{
		{"tiny", testmodel.Phi3(t), convertTo(t, testmodel.Phi3(t), policy.MostlyQ4_K_S), 0},
		{"tiny in batches", testmodel.Phi3(t), convertTo(t, testmodel.Phi3(t), policy.MostlyQ8_0), 7},
		{"tied", writeVariant(t, tied), writeVariant(t, rounded), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			exact := Options{Float32: true, Cache: CacheF32, Batch: c.batch}
			base, other := open(t, c.base, exact), open(t, c.quant, exact)
			tokens := []int32{1, 7, 30, 12, 5, 9, 44, 21, 3, 8, 17, 100, 6, 77, 50, 2, 11, 19}
			want := [2][][]float32{
				allLogits(t, sequence(t, base), tokens)[5:], allLogits(t, sequence(t, other), tokens)[5:],
			}
			h, err := NewHybrid(base, other, len(tokens))
			if err != nil {
				t.Fatal(err)
			}
			check := func(what string, got, want [][]float32, equal bool) {
				t.Helper()
				if slices.EqualFunc(got, want, slices.Equal[[]float32]) != equal {
					t.Errorf("%s: equal is %v, expected %v", what, !equal, equal)
				}
			}
			all := names(base)
			check("all before a run without", hybridLogits(t, h, all, tokens), want[1], true)
			var single [][][]float32
			for _, name := range all {
				single = append(single, hybridLogits(t, h, []string{name}, tokens))
			}
			check("none", hybridLogits(t, h, nil, tokens), want[0], true)
			for i, name := range all {
				got := hybridLogits(t, h, []string{name}, tokens)
				check(name+" from its block on", got, single[i], true)
				same, err := h.Same(name)
				if err != nil {
					t.Fatal(err)
				}
				if norm := strings.Contains(name, "norm"); same != norm && c.name != "tied" {
					t.Errorf("%s: the models have the same is %v, expected %v", name, same, norm)
				}
				check(name+" against none", got, want[0], same)
			}
			check("all", hybridLogits(t, h, all, tokens), want[1], true)
			check("all, named twice", hybridLogits(t, h, slices.Concat(all, all), tokens), want[1], true)
			check("none after that", hybridLogits(t, h, nil, tokens), want[0], true)
			reordered := slices.Concat(tokens[9:], tokens[:9])
			check(
				"another text", hybridLogits(t, h, nil, reordered), allLogits(t, sequence(t, base), reordered)[5:],
				true,
			)
			check("the text before", hybridLogits(t, h, all[3:4], tokens), single[3], true)
			check("the first model", allLogits(t, sequence(t, base), tokens)[5:], want[0], true)
			check("the other model", allLogits(t, sequence(t, other), tokens)[5:], want[1], true)
		})
	}
}

func TestHybridMistakes(t *testing.T) {
	dir := testmodel.Phi3(t)
	base, same := open(t, dir, Options{}), open(t, dir, Options{})
	if _, err := NewHybrid(base, open(t, writeVariant(t, testdata.Variants()[0]), Options{}), 0); err == nil ||
		!strings.Contains(err.Error(), "different shapes") {
		t.Errorf("a hybrid of different shapes: %v", err)
	}
	if _, err := NewHybrid(base, base, 0); err == nil {
		t.Error("a hybrid of a model with itself")
	}
	h, err := NewHybrid(base, same, 16)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names(base) {
		if equal, err := h.Same(name); !equal || err != nil {
			t.Errorf("%s: same is %v, error %v", name, equal, err)
		}
	}
	run := func(tensors []string, tokens int) error {
		return h.Logits(
			context.Background(), tensors, make([]int32, tokens), 0, func(int, []float32) error { return nil },
		)
	}
	var long *ContextError
	if err := run(nil, 17); !errors.As(err, &long) {
		t.Errorf("17 tokens in a context of 16: %v", err)
	}
	if err := run([]string{"blk.0.ffn_up.weight", "blk.99.ffn_up.weight"}, 3); err == nil ||
		!strings.Contains(err.Error(), "blk.99") {
		t.Errorf("an unknown tensor: %v", err)
	}
	if _, err := h.Same("blk.99.ffn_up.weight"); err == nil {
		t.Error("an unknown tensor is the same")
	}
	if err := run(nil, 3); err != nil {
		t.Error(err)
	}
	if err := same.Close(); err != nil {
		t.Fatal(err)
	}
	if err := run(nil, 3); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("a closed model: %v", err)
	}
}
