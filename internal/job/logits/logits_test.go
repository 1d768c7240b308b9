package logits

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/runtime"
)

// floats decodes float32 values.
func floats(data []byte) []float32 {
	x := make([]float32, len(data)/4)
	for i := range x {
		x[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return x
}

// The file holds what transformers computes.
func TestWriteNPY(t *testing.T) {
	var g struct {
		VocabSize int `json:"vocab_size"`
		Cases     []struct {
			Tokens    []int32
			Positions []int
			Logits    string
			Window    *int `json:"sliding_window"`
		}
	}
	if err := json.Unmarshal(testmodel.Read(t, "../../../testdata/golden/logits.json"), &g); err != nil {
		t.Fatal(err)
	}
	model := testmodel.Phi3(t)
	for i, c := range g.Cases {
		if c.Window != nil || len(c.Tokens) > 200 {
			continue
		}
		out := filepath.Join(t.TempDir(), "logits.npy")
		opt := Options{Compute: runtime.Options{Batch: 9, Float32: true, Cache: runtime.CacheF32}}
		if _, err := WriteNPY(t.Context(), model, c.Tokens, out, opt); err != nil {
			t.Fatal(err)
		}
		header, data, found := bytes.Cut(testmodel.Read(t, out), []byte("\n"))
		if shape := fmt.Sprintf("'shape': (%d, %d)", len(c.Tokens), g.VocabSize); !found ||
			!bytes.Contains(header, []byte(shape)) || len(data) != 4*len(c.Tokens)*g.VocabSize {
			t.Fatalf("%d bytes after %q, expected those of %s", len(data), header, shape)
		}
		encoded, err := base64.StdEncoding.DecodeString(c.Logits)
		if err != nil {
			t.Fatal(err)
		}
		got, want := floats(data), floats(encoded)
		for j, pos := range c.Positions {
			for k := range g.VocabSize {
				x, y := got[pos*g.VocabSize+k], want[j*g.VocabSize+k]
				if math.Abs(float64(x-y)) > 1e-3 {
					t.Fatalf("case %d: position %d, token %d: %v, expected %v", i, pos, k, x, y)
				}
			}
		}
	}
}

func TestLikeliest(t *testing.T) {
	opt := Options{Compute: runtime.Options{Batch: 4}}
	r, err := Likeliest(t.Context(), testmodel.Phi3(t), []int32{1, 522, 299}, 576, opt)
	if err != nil {
		t.Fatal(err)
	}
	list := r.Next
	if len(list) != 576 || list[0].Token == "" {
		t.Fatalf("%d tokens", len(list))
	}
	sum := list[0].Probability
	for i, l := range list[1:] {
		if l.Logit > list[i].Logit || l.Probability > list[i].Probability {
			t.Errorf("%+v before %+v", list[i], l)
		}
		sum += l.Probability
	}
	if math.Abs(sum-1) > 1e-9 {
		t.Errorf("probabilities sum to %v", sum)
	}
}

func TestErrors(t *testing.T) {
	model, out := testmodel.Phi3(t), filepath.Join(t.TempDir(), "out.npy")
	opt := Options{Compute: runtime.Options{Batch: 4}}
	for name, tokens := range map[string][]int32{"too many": make([]int32, 513), "an id that is not there": {1, 576}} {
		if _, err := WriteNPY(t.Context(), model, tokens, out, opt); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := os.Stat(out); !os.IsNotExist(err) {
		t.Errorf("an output was left: %v", err)
	}
}
