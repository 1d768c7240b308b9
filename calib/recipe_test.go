package calib

import (
	"reflect"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/calib/solve"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/quant/policy"
)

func testRecipe() *Recipe {
	m, _ := MethodByName("gptq")
	return &Recipe{FileType: policy.MostlyQ4_K_M, Method: m, Split: true, AWQ: true,
		Solve: solve.Options{Damp: []float64{0.01, 0.3}, Shrink: 0.25, Sweeps: 3, Asymmetric: 0.5, Outputs: 0.25},
		Tensors: []quant.Target{
			{Tensor: "token_embd.weight", Type: quant.F16}, {Tensor: "blk.0.ffn_up.weight", Type: quant.IQ4_NL},
			{Tensor: "a: #b", Type: quant.Q2_K},
		}}
}

// Both forms are read back as what was written.
func TestRecipeRoundTrip(t *testing.T) {
	gptq := testRecipe()
	rtn := &Recipe{FileType: policy.MostlyQ8_0, Solve: solve.DefaultOptions()}
	rtn.Method, _ = MethodByName("rtn")
	for _, want := range []*Recipe{gptq, rtn} {
		long, err := want.YAML("Made by a test\nin two lines")
		if err != nil {
			t.Fatal(err)
		}
		compact, err := want.Compact()
		if err != nil {
			t.Fatal(err)
		}
		const head = "# Made by a test\n# in two lines\nrecipe: 1\n"
		if !strings.HasPrefix(string(long), head) || strings.Contains(compact, "\n") {
			t.Errorf("%s\n%s", long, compact)
		}
		for _, text := range []string{string(long), compact} {
			got, err := ParseRecipe([]byte(text))
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%+v, expected %+v", got, want)
			}
		}
	}
}

func TestRecipeRefused(t *testing.T) {
	const head = "recipe: 1\nfile-type: Q4_K_M\nmethod: gptq\n"
	for text, want := range map[string]string{
		"":                                             "no recipe",
		"recipe: 2\n":                                  `"recipe" is 2`,
		"recipe: 1\nmethod: rtn\n":                     "file-type",
		"[1]":                                          "line 1",
		head + "colour: red\n":                         "colour",
		head + "damp: x\n":                             "line 4",
		head + "damp: []\n":                            "damp has no value",
		head + "damp: [.nan]\n":                        "damp is NaN",
		head + "shrink: 1\n":                           "shrink is 1",
		head + "refine: -1\n":                          "refine is -1",
		head + "asymmetric: 2\n":                       "asymmetric is 2",
		head + "outputs: 2\n":                          "outputs is 2",
		head + "tensors: [a]\n":                        "line 4",
		head + "tensors: {a: Q9}\n":                    "tensor a",
		head + "tensors: {a: [Q4_K]}":                  "line 4",
		head + "tensors: {a: &x Q4_K, b: *x}":          "line 4",
		head + "tensors: {a: Q4_K, a: Q4_0}":           "a is there twice",
		head + "---\n" + head:                          "more than one",
		"recipe: 1\nfile-type: Q4_K_M\nmethod: best\n": "known: rtn imatrix",
		"recipe: 1\nfile-type: Q4_K_M\nmethod: rtn\nshrink: 0.1\n": `"shrink" is not for the method rtn`,
	} {
		if r, err := ParseRecipe([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v, expected %q", text, r, err, want)
		}
	}
}

func FuzzRecipe(f *testing.F) {
	long, _ := testRecipe().YAML("seed")
	compact, _ := testRecipe().Compact()
	f.Add(long)
	f.Add([]byte(compact))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseRecipe(data)
		if err != nil {
			return
		}
		again, err := r.Compact()
		if err != nil {
			t.Fatal(err)
		}
		if s, err := ParseRecipe([]byte(again)); err != nil || !reflect.DeepEqual(r, s) {
			t.Errorf("%q became %q: %v", data, again, err)
		}
	})
}
