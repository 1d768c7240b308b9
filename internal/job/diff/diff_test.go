package diff

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/internal/convert"
	"github.com/phi3conv/phi3conv/internal/job/inspect"
	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/quant/policy"
)

func open(t *testing.T, path string) *inspect.Model {
	t.Helper()
	m, err := inspect.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

func compare(t *testing.T, a, b string) *Diff {
	t.Helper()
	d, err := Compare(t.Context(), open(t, a), open(t, b), Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// longRope writes the tiny model with LongRoPE factors to a directory.
func longRope(t *testing.T) string {
	t.Helper()
	dir := testmodel.Phi3(t)
	config := filepath.Join(dir, "config.json")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	factors := `{"rope_type": "longrope", "rope_theta": 10000.0, ` +
		`"original_max_position_embeddings": 512, ` +
		`"short_factor": [1` + strings.Repeat(", 1", 31) + `], ` +
		`"long_factor": [1.5` + strings.Repeat(", 2.25", 31) + `]}`
	edited := strings.NewReplacer(
		`"rope_scaling": null`, `"rope_parameters": `+factors,
		`"max_position_embeddings": 512`, `"max_position_embeddings": 4096`,
	).Replace(string(text))
	if err := os.WriteFile(config, []byte(edited), 0o666); err != nil {
		t.Fatal(err)
	}
	return dir
}

// convertTo converts a model and returns the file's path.
func convertTo(t *testing.T, model, fileType string) string {
	t.Helper()
	ft, err := policy.FileTypeByName(fileType)
	if err != nil {
		t.Fatal(err)
	}
	m, err := source.Open(model)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	plan, err := convert.NewPlan(m, convert.Options{Policy: policy.Policy{FileType: ft}})
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), fileType+".gguf")
	if err := plan.Run(t.Context(), out, convert.Limits{Threads: 2, Memory: 1 << 30}); err != nil {
		t.Fatal(err)
	}
	return out
}

// A checkpoint and its conversions, in both schemas of LongRoPE.
func TestCompareFormats(t *testing.T) {
	model := longRope(t)
	for _, tc := range []struct {
		typ       string
		low, high float64 // SQNR in dB
	}{{"F32", math.Inf(1), math.Inf(1)}, {"Q8_0", 40, 50}, {"Q4_K_M", 20, 30}} {
		d := compare(t, model, convertTo(t, model, tc.typ))
		if len(d.Tensors) != 29 || d.Parameters != 2656576 || len(d.TensorsA)+len(d.TensorsB)+len(d.Unlike) != 0 {
			t.Errorf("%s: %d tensors, %d parameters, %+v", tc.typ, len(d.Tensors), d.Parameters, d.Unlike)
		}
		if len(d.Keys) != 0 || len(d.KeysA) != 0 || len(d.Notes) != 0 {
			t.Errorf("%s: keys %+v, %+v, notes %q", tc.typ, d.Keys, d.KeysA, d.Notes)
		}
		if len(d.KeysB) != 2 || d.KeysB[0].Key != "general.file_type" ||
			d.KeysB[1].Key != "general.quantization_version" {
			t.Errorf("%s: keys that only the conversion has: %+v", tc.typ, d.KeysB)
		}
		if s := float64(d.Overall.SQNR); s < tc.low || s > tc.high || d.Overall.Equal() != (tc.typ == "F32") {
			t.Errorf("%s: overall SQNR %g, expected %g to %g", tc.typ, s, tc.low, tc.high)
		}
		if d.Weights.Rows != 9344 || len(d.Weights.Unlike) != 0 {
			t.Errorf("%s: rows %+v", tc.typ, d.Weights)
		}
	}
}

// A tokenizer that cannot be read does not stop the comparison of weights.
func TestCompareWithoutTokenizer(t *testing.T) {
	model := longRope(t)
	file := convertTo(t, model, "F32")
	for _, name := range []string{"tokenizer.json", "tokenizer.model"} {
		if err := os.Remove(filepath.Join(model, name)); err != nil {
			t.Fatal(err)
		}
	}
	d := compare(t, model, file)
	if len(d.Notes) != 1 || !strings.HasPrefix(d.Notes[0], "keys of the tokenizer are left out: ") ||
		!d.Overall.Equal() {
		t.Errorf("notes %q, overall %+v", d.Notes, d.Overall)
	}
}

// The parts of a fused matrix are compared with the tensors that the other model has instead.
func TestSplit(t *testing.T) {
	fused, apart := open(t, longRope(t)), []inspect.Tensor{{GGUF: "blk.1.attn_q.weight"}}
	list := split(fused, fused.Tensors(), apart)
	if len(list) != 31 {
		t.Fatalf("%d tensors, expected 31", len(list))
	}
	rows := map[string]uint64{}
	for _, x := range list {
		if strings.HasPrefix(x.GGUF, "blk.1.attn_") && len(x.Shape) == 2 {
			rows[x.GGUF] = x.Shape[0]
		}
	}
	for name, want := range map[string]uint64{
		"blk.1.attn_q.weight": 256, "blk.1.attn_k.weight": 128, "blk.1.attn_v.weight": 128,
		"blk.1.attn_output.weight": 256,
	} {
		if rows[name] != want || len(rows) != 4 {
			t.Errorf("%s has %d rows, expected %d, of %v", name, rows[name], want, rows)
		}
	}
}

func TestWeights(t *testing.T) {
	model := longRope(t)
	w, err := Weights(t.Context(), open(t, model), open(t, convertTo(t, model, "Q4_K_M")), Options{})
	if err != nil || w.Rows != 9344 || len(w.Unlike) != 0 {
		t.Errorf("%+v, %v", w, err)
	}
}

// A flipped bit in the exponent of a scale is named, whichever it is, and two swapped rows are, in every type.
func TestDamage(t *testing.T) {
	model := testmodel.Phi3(t)
	for _, ft := range policy.FileTypes() {
		path := convertTo(t, model, ft.String())
		damaged := damage(t, path)
		w, err := Weights(t.Context(), open(t, model), open(t, path), Options{})
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]string{}
		for _, u := range w.Unlike {
			found[fmt.Sprintf("%s %d", u.Tensor, u.Row)] = u.Why
		}
		if !maps.Equal(found, damaged) {
			for row, why := range damaged {
				if found[row] != why {
					t.Errorf("%s: %s is %q, expected %q", ft, row, found[row], why)
				}
				delete(found, row)
			}
			if len(found) > 0 {
				t.Errorf("%s: also %q", ft, found)
			}
		}
	}
}

// damage flips bits in rows 3, 6, 9, … of matrices, a block farther each time, and swaps two rows. It
// returns what the rows look like then.
func damage(t *testing.T, path string) map[string]string {
	t.Helper()
	data := testmodel.Read(t, path)
	damaged := map[string]string{}
	for _, tensor := range open(t, path).Tensors() {
		if len(tensor.Shape) != 2 || strings.HasPrefix(tensor.GGUF, "blk.1.") {
			continue
		}
		b := data[tensor.Offset:][:tensor.Bytes]
		rowBytes := int(tensor.Bytes) / int(tensor.Shape[0])
		row := 0
		scales := tensor.Block.ScaleOffsets()
		if tensor.Block == quant.IQ2_XS || tensor.Block == quant.IQ2_S {
			scales = nil // too few choices in a block to tell a flip from a choice
		}
		for _, scale := range scales {
			for bit := range 5 {
				row += 3
				block := row % (rowBytes / tensor.Block.BlockBytes())
				at := row*rowBytes + block*tensor.Block.BlockBytes()
				if b[at+scale]|b[at+scale+1] == 0 {
					continue // no minimum: no bit means anything
				}
				b[at+scale+1] ^= 4 << bit
				n := tensor.Block.BlockLen()
				damaged[fmt.Sprintf("%s %d", tensor.GGUF, row)] = fmt.Sprintf(
					"bit %d of the scale at byte %d of a block flipped, columns %d to %d",
					10+bit, scale, block*n, block*n+n-1)
			}
		}
		if tensor.GGUF == "output.weight" {
			continue // most of its rows are of tokens that never occur, and all but equal
		}
		first, second := b[rowBytes:2*rowBytes], b[40*rowBytes:41*rowBytes]
		swap := bytes.Clone(first)
		copy(first, second)
		copy(second, swap)
		damaged[tensor.GGUF+" 1"], damaged[tensor.GGUF+" 40"] = "swapped with row 40", "swapped with row 1"
	}
	testmodel.Write(t, path, data)
	return damaged
}

// JSON has no infinity, and empty lists are not null.
func TestJSON(t *testing.T) {
	model := longRope(t)
	text, err := json.Marshal(compare(t, model, model))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), `"overall":{"rmse":0,"max_error":0,"cosine":1,"sqnr_db":null}`) {
		t.Errorf("overall in %s", text)
	}
	if !strings.Contains(string(text), `"keys_only_a":[],"keys_only_b":[],"keys_different":[],"tensors_only_a":[]`) {
		t.Errorf("lists in %s", text)
	}
}

// keys makes metadata from keys and values in turn.
func keys(pairs ...any) *gguf.Metadata {
	md := new(gguf.Metadata)
	for i := 0; i < len(pairs); i += 2 {
		md.Set(pairs[i].(string), pairs[i+1])
	}
	return md
}

func TestSameValue(t *testing.T) {
	nan := math.NaN()
	for _, tc := range []struct {
		a, b any
		same bool
	}{
		{uint32(5), int64(5), true},
		{uint32(5), int64(6), false},
		{float32(0.1), 0.1, true},
		{0.1, float32(0.1), true},
		{float32(0.1), 0.1001, false},
		{0.1, 0.1 + 1e-12, false},
		{float32(nan), nan, true},
		{nan, nan, true},
		{nan, 1.0, false},
		{float32(1), "1", false},
	} {
		if got := sameValue(keys("k", tc.a), keys("k", tc.b), "k"); got != tc.same {
			t.Errorf("%T %v and %T %v: got %t", tc.a, tc.a, tc.b, tc.b, got)
		}
	}
}

func TestKeyDiffTexts(t *testing.T) {
	for _, tc := range []struct {
		a, b         any
		textA, textB string
	}{
		{uint32(7), uint32(8), "7", "8"},
		{uint32(7), "7", "7", `"7"`},
		{[]string{"x", "y"}, []string{"x", "w"}, `string[2], [1] "y"`, `string[2], [1] "w"`},
		{[]int32{1, 2}, []int32{1}, "int32[2], [1] 2", "int32[1], ends"},
		{float32(1.5), float64(1.5), "float32 1.5", "float64 1.5"},
	} {
		d := newKeyDiff("k", tc.a, tc.b)
		if a, b := d.Texts(); a != tc.textA || b != tc.textB {
			t.Errorf("%v and %v: %s and %s, expected %s and %s", tc.a, tc.b, a, b, tc.textA, tc.textB)
		}
	}
}
