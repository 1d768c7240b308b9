package quantize

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/calib"
	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/quant/policy"
)

// reproduce makes a file again and compares.
func reproduce(t *testing.T, file string, opt ReproduceOptions) *Comparison {
	t.Helper()
	r, err := PrepareReproduction(t.Context(), file, opt, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c, err := r.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What every method makes can be made again, from statistics that have another name by then.
func TestReproduce(t *testing.T) {
	if testing.Short() {
		t.Skip("long on an emulator")
	}
	dir := t.TempDir()
	renamed := filepath.Join(dir, "renamed.gguf")
	testmodel.Write(t, renamed, testmodel.Read(t, fisherStats(t)))
	for _, m := range calib.Methods() {
		names := []string{m.Name + ".gguf"}
		if !m.RunsModel() {
			names = append(names, m.Name+".pmap")
		}
		for _, name := range names {
			out := filepath.Join(dir, name)
			opt := Options{Method: m.Name, Name: "Phi-3 of a test"}
			opt.Policy.FileType = policy.MostlyQ3_K_M
			again := ReproduceOptions{Model: tiny, Limits: Limits{Threads: 2}}
			if m.Needs > calib.Nothing {
				opt.Stats, again.Stats = fisherStats(t), renamed
			}
			if m.Takes("damp") {
				opt.Solver = quick()
			}
			mustRun(t, tiny, out, opt)
			if c := reproduce(t, out, again); !c.Same || c.Whole != strings.HasSuffix(name, ".gguf") {
				t.Errorf("%s: %+v", name, c)
			}
		}
	}
}

// What differs is named: a tensor, a key, an input.
func TestReproduceDifferent(t *testing.T) {
	dir := t.TempDir()
	out, kept := filepath.Join(dir, "out.gguf"), filepath.Join(dir, "kept.gguf")
	mustRun(t, tiny, out, Options{Policy: policy.Policy{FileType: policy.MostlyQ4_K_M}, Stats: plainStats(t)})
	opt := ReproduceOptions{Model: tiny, Stats: plainStats(t), Output: kept}
	if c := reproduce(t, out, opt); !c.Same || len(c.Inputs) != 2 || !c.Inputs[0].Same || !c.Inputs[1].Same {
		t.Errorf("%+v", c)
	}
	good := testmodel.Read(t, out)
	if !bytes.Equal(good, testmodel.Read(t, kept)) {
		t.Error("what is kept is another file")
	}
	opt.Output = ""
	f, err := gguf.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	bad := bytes.Clone(good)
	bad[f.Tensor("blk.1.ffn_up.weight").Offset+200] ^= 1
	_ = f.Close()
	testmodel.Write(t, out, bad)
	c := reproduce(t, out, opt)
	if c.Same || c.Tensor != "blk.1.ffn_up.weight" || !strings.HasPrefix(c.Why, "byte 200 ") || len(c.Keys) != 0 {
		t.Errorf("one bit of a tensor: %+v", c)
	}
	testmodel.Write(t, out, append(bytes.Clone(good), 0))
	if c := reproduce(t, out, opt); c.Same || c.Tensor != "" || c.Why == "" {
		t.Errorf("a byte more: %+v", c)
	}
	testmodel.Write(t, out, good)
	other := filepath.Join(dir, "other.gguf")
	calibrate(t, tiny, other, 3, false)
	c = reproduce(t, out, ReproduceOptions{Model: tiny, Stats: other})
	if c.Same || !c.Inputs[0].Same || c.Inputs[1].Same || c.Tensor == "" || len(c.Keys) == 0 {
		t.Errorf("other statistics: %+v", c)
	}
	if left, _ := os.ReadDir(dir); len(left) != 3 {
		t.Errorf("left: %v", left)
	}
}

// What cannot be made again is refused, and no input is written to.
func TestReproduceMistakes(t *testing.T) {
	dir := t.TempDir()
	out, plain := filepath.Join(dir, "out.gguf"), filepath.Join(dir, "plain.gguf")
	q4 := policy.Policy{FileType: policy.MostlyQ4_K_M}
	mustRun(t, tiny, out, Options{Policy: q4, Stats: plainStats(t)})
	mustRun(t, tiny, plain, Options{Policy: q4})
	before := testmodel.Read(t, out)
	var mistake *usage.Error
	for _, c := range []struct {
		file  string
		opt   ReproduceOptions
		usage bool
		want  string
	}{
		{out, ReproduceOptions{Model: tiny}, true, "reproduce needs --stats"},
		{plain, ReproduceOptions{Model: tiny}, false, "does not say how it was made"},
		{plain + ".none", ReproduceOptions{Model: tiny}, false, "plain.gguf.none"},
		{out, ReproduceOptions{Model: plain + ".none", Stats: plainStats(t)}, false, "plain.gguf.none"},
		{out, ReproduceOptions{Model: tiny, Stats: plainStats(t), Output: out}, true, "is a file of the input"},
		{out, ReproduceOptions{Model: tiny, Stats: plainStats(t), Limits: Limits{MaxRAM: 1}}, true, "--max-ram is 1 B"},
	} {
		r, err := PrepareReproduction(t.Context(), c.file, c.opt, nil)
		if err == nil {
			_, err = r.Run(t.Context())
			r.Close()
		}
		if err == nil || errors.As(err, &mistake) != c.usage || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, expected %q, of usage: %v", err, c.want, c.usage)
		}
	}
	if !bytes.Equal(before, testmodel.Read(t, out)) {
		t.Error("the file was written to")
	}
}

// Statistics of other weights are noted, not refused: a GGUF file of the same model has another hash.
func TestOtherWeights(t *testing.T) {
	f16 := filepath.Join(t.TempDir(), "f16.gguf")
	mustRun(t, tiny, f16, Options{Policy: policy.Policy{FileType: policy.MostlyF16}})
	j, err := Prepare(t.Context(), f16, "out.gguf", Options{Stats: plainStats(t)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if n := j.Notes(); len(n) != 1 || !strings.Contains(n[0], "was made from another file or other weights than "+f16) {
		t.Errorf("notes %q", n)
	}
}

func TestFirstDifference(t *testing.T) {
	long := bytes.Repeat([]byte{1}, 1<<20+5)
	changed := bytes.Clone(long)
	changed[1<<20+2] = 0
	for _, c := range []struct {
		a, b []byte
		want int64
	}{
		{nil, nil, -1},
		{long, long, -1},
		{long[:1<<20], long[:1<<20], -1},
		{long, changed, 1<<20 + 2},
		{long, long[:1<<20], 1 << 20},
		{[]byte{1}, []byte{1, 2}, 1},
		{[]byte{3, 1}, []byte{3, 2}, 1},
	} {
		at, err := firstDifference(bytes.NewReader(c.a), bytes.NewReader(c.b))
		if at != c.want || err != nil {
			t.Errorf("%d and %d bytes: %d %v, expected %d", len(c.a), len(c.b), at, err, c.want)
		}
	}
	if _, err := firstDifference(bytes.NewReader(long), badReader{}); err == nil {
		t.Error("an error was lost")
	}
}

type badReader struct{}

func (badReader) Read([]byte) (int, error) { return 0, errors.New("bad") }
