package policy

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/quant"
)

var update = flag.Bool("update", false, "write testdata/types.txt")

const golden = "testdata/types.txt"

// shape is what a [Policy] sees of a model.
type shape struct {
	name             string
	layers, gqa      int
	hidden, attn, ff int // lengths of the rows of most tensors, of attn_output and of ffn_down
	tied             bool
}

// models are written out in the golden file: the tiny one of the tests, and the shapes of the Phi-3 and Phi-4 models.
var models = []shape{
	{name: "tiny", layers: 2, gqa: 2, hidden: 256, attn: 256, ff: 512},
	{name: "Phi-3-mini", layers: 32, gqa: 1, hidden: 3072, attn: 3072, ff: 8192},
	{name: "Phi-3-medium, Phi-4", layers: 40, gqa: 4, hidden: 5120, attn: 5120, ff: 17920},
	{name: "Phi-4-mini", layers: 32, gqa: 3, hidden: 3072, attn: 3072, ff: 8192, tied: true},
	{name: "rows of 96", layers: 16, gqa: 8, hidden: 96, attn: 512, ff: 100, tied: true},
}

// roles are the tensors of a layer, with fused projections and without.
var roles = []string{
	"attn_norm", "attn_qkv", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_up", "ffn_gate", "ffn_down",
}

// each calls f for every tensor of a model with the type that p gives it.
func each(p *Policy, s shape, f func(role string, layer int, typ quant.Type)) {
	tensor := Tensor{Source: quant.BF16, Cols: s.hidden, Matrix: true, Layers: s.layers, GQA: s.gqa, Tied: s.tied}
	for _, name := range []string{"token_embd", "output", "output_norm"} {
		tensor.Name = name + ".weight"
		f(name, 0, p.Type(tensor))
	}
	for _, role := range roles {
		tensor.Matrix = !strings.HasSuffix(role, "_norm")
		switch tensor.Cols = s.hidden; role {
		case "attn_output":
			tensor.Cols = s.attn
		case "ffn_down":
			tensor.Cols = s.ff
		}
		for tensor.Layer = range s.layers {
			tensor.Name = "blk." + strconv.Itoa(tensor.Layer) + "." + role + ".weight"
			f(role, tensor.Layer, p.Type(tensor))
		}
	}
}

// typesText has a line for each role: from which layer on it has which type.
func typesText(p *Policy, s shape) string {
	var b strings.Builder
	var lastType quant.Type
	each(p, s, func(role string, layer int, typ quant.Type) {
		if layer == 0 {
			fmt.Fprintf(&b, "\n  %s", role)
		}
		if layer == 0 || typ != lastType {
			fmt.Fprintf(&b, " %d:%s", layer, typ)
		}
		lastType = typ
	})
	return b.String()
}

// Which type each tensor gets, for each file type. The golden file was written by the rules as they were when they
// were code and not tables. A few models are written out; a hash covers many more shapes.
func TestGolden(t *testing.T) {
	var b strings.Builder
	for _, f := range FileTypes() {
		plain, important := &Policy{FileType: f}, &Policy{FileType: f, Imatrix: true}
		for _, s := range models {
			text, withImatrix := typesText(plain, s), typesText(important, s)
			fmt.Fprintf(&b, "%s, %s%s\n", f, s.name, text)
			if withImatrix != text {
				fmt.Fprintf(&b, "%s, %s, imatrix%s\n", f, s.name, withImatrix)
			}
		}
		fmt.Fprintf(&b, "%s, other shapes\n  %s\n", f, hashOfMany(f))
	}
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	wantLines := strings.Split(string(want), "\n")
	model := ""
	for i, line := range strings.Split(b.String(), "\n") {
		if !strings.HasPrefix(line, " ") {
			model = line
		}
		if i >= len(wantLines) || line != wantLines[i] {
			t.Fatalf("%s: line %d:\n%s\nwant\n%s", model, i+1, line, wantLines[min(i, len(wantLines)-1)])
		}
	}
}

// hashOfMany hashes the types of many shapes, with importance and without, with what overrides the mixture and without.
func hashOfMany(f FileType) string {
	h := sha256.New()
	q8 := quant.Q8_0
	for _, p := range []Policy{
		{}, {Imatrix: true}, {Pure: true},
		{Output: &q8}, {Output: &q8, Embedding: &q8}, {Embedding: &q8, KeepOutput: true},
	} {
		p.FileType = f
		for _, layers := range []int{1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 24, 31, 33, 48, 64} {
			for _, gqa := range []int{1, 3, 4, 8} {
				for _, cols := range []int{256, 288, 100} {
					for _, tied := range []bool{false, true} {
						s := shape{layers: layers, gqa: gqa, hidden: cols, attn: cols, ff: cols, tied: tied}
						each(&p, s, func(_ string, _ int, typ quant.Type) { h.Write([]byte(typ.String() + " ")) })
					}
				}
			}
		}
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}
