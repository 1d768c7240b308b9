package inspect

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/testmodel"
)

// The seal's figures are those of formats/seal/testdata/make.py's list of positions.
func TestShowSeal(t *testing.T) {
	r, err := Show(t.Context(), "../../../formats/seal/testdata/v2.seal")
	if err != nil {
		t.Fatal(err)
	}
	s, ok := r.(*Seal)
	if !ok || s.Bytes != 1151 || s.Model != "golden – v2" || math.Abs(float64(s.Perplexity)-124.118443655) > 1e-5 ||
		math.Abs(s.Likely-5.2) > 1e-12 ||
		s.SHA256 != "6421b969f7a8562902c7c35d6b9ed0f9e357e88fa157c4a4f1957ee5cd4bc9ab" {
		t.Errorf("%+v", r)
	}
	var b strings.Builder
	if err := r.WriteText(&b); err != nil || !strings.Contains(b.String(), " positions, ") {
		t.Errorf("%v\n%s", err, &b)
	}
	damaged := testmodel.Write(t, t.TempDir()+"/a.seal", []byte("\x89seal\r\n\x1a\n and no more"))
	if _, err := Show(t.Context(), damaged); err == nil || !strings.Contains(err.Error(), damaged) {
		t.Errorf("a damaged one: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ReadSeal(ctx, "../../../formats/seal/testdata/v2.seal"); err == nil {
		t.Error("interrupted: no error")
	}
}

// Statistics of llama-imatrix, in both formats.
func TestShowImatrix(t *testing.T) {
	for name, want := range map[string]Imatrix{
		"imatrix.gguf": {Format: "GGUF imatrix", Bytes: 23136},
		"imatrix.dat":  {Format: "dat imatrix", Bytes: 21043},
	} {
		r, err := Show(t.Context(), "../../../testdata/golden/"+name)
		if err != nil {
			t.Fatal(err)
		}
		s, ok := r.(*Imatrix)
		if !ok || s.Format != want.Format || s.Bytes != want.Bytes || len(s.Entries) != 16 || s.Chunks != 20 ||
			s.Origin != nil {
			t.Errorf("%s: %+v", name, r)
		}
		var b strings.Builder
		if err := r.WriteText(&b); err != nil || !strings.Contains(b.String(), "16 linear layers, ") {
			t.Errorf("%v\n%s", err, &b)
		}
	}
}
