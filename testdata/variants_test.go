package testdata_test

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/phi3conv/phi3conv/testdata"
)

// The weights are those that golden_variants.py ran, and the cases fit the model.
func TestVariants(t *testing.T) {
	variants := testdata.Variants()
	if len(variants) == 0 {
		t.Fatal("no variants")
	}
	for _, v := range variants {
		t.Run(v.Name, func(t *testing.T) {
			dir := t.TempDir()
			if err := v.Write(dir); err != nil {
				t.Fatal(err)
			}
			m, err := source.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = m.Close() }()
			hash := sha256.New()
			for i := range m.Tensors {
				x := &m.Tensors[i]
				if x.TypeName() != v.DType {
					t.Errorf("%s is %s, expected %s", x.HF, x.TypeName(), v.DType)
				}
				buf := make([]byte, x.Rows()*x.RowBytes())
				if err := x.ReadRows(buf, 0); err != nil {
					t.Fatal(err)
				}
				_, _ = hash.Write(buf)
			}
			if got := hex.EncodeToString(hash.Sum(nil)); got != v.SHA256 {
				t.Errorf("weights have SHA-256 %s, expected %s", got, v.SHA256)
			}
			if len(v.Cases) == 0 {
				t.Error("no cases")
			}
			for _, c := range v.Cases {
				if len(c.Tokens) == 0 || len(c.Tokens) > m.Config.Context || len(c.Logits) == 0 ||
					len(c.Logits) != len(c.Positions)*m.Config.VocabSize {
					t.Errorf("%s: %d tokens, %d logits at %d positions of a model with context %d and %d tokens in "+
						"the vocabulary",
						c.Name, len(c.Tokens), len(c.Logits), len(c.Positions), m.Config.Context, m.Config.VocabSize)
				}
			}
		})
	}
}
