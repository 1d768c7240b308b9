package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/internal/job/inspect"
	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/quant"
)

// makeGGUF writes a file with F32 tensors.
func makeGGUF(t *testing.T, path string, md *gguf.Metadata, tensors map[string][]float32, order ...string) {
	t.Helper()
	infos := make([]gguf.TensorInfo, len(order))
	for i, name := range order {
		infos[i] = gguf.TensorInfo{Name: name, Type: quant.F32, Dims: []uint64{4, uint64(len(tensors[name]) / 4)}}
	}
	w, err := gguf.Create(path, md, infos, gguf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for i, name := range order {
		var b []byte
		for _, v := range tensors[name] {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
		err = errors.Join(err, w.WriteTensorAt(i, b, 0))
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
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

func expect(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("got\n%s\nexpected\n%s", got, want)
	}
}

func TestInspect(t *testing.T) {
	t.Chdir(t.TempDir())
	tokens := make([]string, 20)
	for i := range tokens {
		tokens[i] = string(rune('a' + i))
	}
	makeGGUF(t, "x.gguf", keys(
		"general.architecture", "other",
		"general.file_type", uint32(0),
		"other.text", strings.Repeat("ä\n", 40),
		"other.tokens", tokens,
		"other.numbers", []float32{0.5, float32(math.NaN())},
		"other.nested", []any{[]uint8{1}, []int16{-2, 3}},
		"bad\x1bkey", true,
	), map[string][]float32{"a": make([]float32, 8), "blk.0.b": make([]float32, 4)}, "a", "blk.0.b")
	stdout, stderr, code := phi3conv(t, "inspect", "x.gguf")
	if code != exitOK || stderr != "" {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	expect(t, stdout, `x.gguf: GGUF version 3, F32, alignment 32, 768 bytes

key                   type        value
general.architecture  string      "other"
general.file_type     uint32      0
other.text            string      "`+strings.Repeat(`ä\n`, 30)+`"… (120 bytes)
other.tokens          string[20]  ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", …]
other.numbers         float32[2]  [0.5, not finite]
other.nested          array[2]    [[1], [-2, 3]]
"bad\x1bkey"          bool        true

tensor   type  shape  bytes  bits/weight
a        F32   [2 4]     32        32.00
blk.0.b  F32   [1 4]     16        32.00

type   tensors  parameters  bytes  bits/weight
F32          2          12     48      32.0000
total        2          12     48      32.0000
`)
}

func TestInspectCheckpoint(t *testing.T) {
	model := testmodel.Phi3(t)
	stdout, _, code := phi3conv(t, "inspect", model)
	for _, want := range []string{
		"tiny-phi3: safetensors, 5315928 bytes (5.1 MiB)\n",
		"\nphi3: 4 layers of width 256, 4 heads of 64 (2 for keys and values), feed-forward 512, " +
			"576 tokens, context 512, sliding window 127\n",
		"\narchitectures                     [\"Phi3ForCausalLM\"]\n",
		"\nformat  string  \"pt\"\n",
		"\nmodel.layers.3.mlp.down_proj.weight             BF16  [256 512]   262144        16.00\n",
		"\ntotal       27     2656512  5313024      16.0000\n",
	} {
		if code != exitOK || !strings.Contains(stdout, want) {
			t.Errorf("exit %d, expected %q in\n%s", code, want, stdout)
		}
	}
}

func TestInspectTensor(t *testing.T) {
	t.Chdir(t.TempDir())
	x := make([]float32, 400)
	for i := range x {
		x[i] = float32(i%5 - 2)
	}
	x[7], x[399], x[100], x[101] = 30, -40, float32(math.NaN()), float32(math.Inf(1))
	tensors := map[string][]float32{"x": x, "ones": {1, 1, 1, 1}}
	makeGGUF(t, "x.gguf", keys("general.architecture", "other"), tensors, "x", "ones")
	stdout, stderr, code := phi3conv(t, "inspect", "x.gguf", "--tensor", "x", "--tensor", "ones")
	if code != exitOK || stderr != "" {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	expect(t, stdout, `x
  F32 [100 4], 400 values, 1600 bytes, 32.00 bits per weight
  min -40  max 30  abs max 40  mean -0.0226131  std 2.87547
  zeros 79  NaN 1  infinite 1  beyond 6 std 2

  farthest from the mean:  row  column  value    std
                            99       3    -40  -13.9
                             1       3     30   10.4
                             1       0      2    0.7
                             2       1      2    0.7
                             3       2      2    0.7

  values from (half a std each)
       below  #                                   0.25 %
       -10.1                                      0.00 %
       -8.65                                      0.00 %
       -7.21                                      0.00 %
       -5.77                                      0.00 %
       -4.34                                      0.00 %
        -2.9  ################                   19.85 %
       -1.46  ################                   19.85 %
     -0.0226  ################################   39.95 %
        1.42  ################                   19.85 %
        2.85                                      0.00 %
        4.29                                      0.00 %
        5.73                                      0.00 %
        7.17                                      0.00 %
         8.6                                      0.00 %
        ≥ 10  #                                   0.25 %

ones
  F32 [1 4], 4 values, 16 bytes, 32.00 bits per weight
  min 1  max 1  abs max 1  mean 1  std 0
  zeros 0  NaN 0  infinite 0  beyond 6 std 0
`)
}

func TestInspectJSON(t *testing.T) {
	model := testmodel.Phi3(t)
	var o inspect.Overview
	stdout, _, code := phi3conv(t, "inspect", "--json", model)
	if err := json.Unmarshal([]byte(stdout), &o); code != exitOK || err != nil || len(o.Tensors) != 27 {
		t.Errorf("exit %d, %v\n%s", code, err, stdout)
	}
	var s struct {
		Path    string
		Tensors []inspect.Statistics
	}
	stdout, _, code = phi3conv(t, "inspect", "--json", model,
		"--tensor", "blk.2.ffn_down.weight", "--tensor", "output_norm.weight")
	if err := json.Unmarshal([]byte(stdout), &s); code != exitOK || err != nil || len(s.Tensors) != 2 {
		t.Errorf("exit %d, %v\n%s", code, err, stdout)
	}
}

func TestInspectMistakes(t *testing.T) {
	model := testmodel.Phi3(t)
	junk := filepath.Join(t.TempDir(), "junk.gguf")
	const integers = "../../formats/safetensors/testdata/all.safetensors"
	testmodel.Write(t, junk, []byte("GGUF\x03\x00\x00\x00"))
	for _, tc := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"nothing", []string{}, exitUsage, "inspect takes one FILE or DIR, got 0 arguments"},
		{"diff of one", []string{"--diff", model}, exitUsage,
			"inspect --diff takes two models and no --tensor, got 1"},
		{"diff of a tensor", []string{"--diff", model, model, "--tensor", "x"}, exitUsage, "no --tensor"},
		{"too many threads", []string{model, "--threads", "5000"}, exitUsage, "--threads is 5000"},
		{"not there", []string{filepath.Join(model, "x")}, exitBadInput, filepath.Join(model, "x")},
		{"junk", []string{junk}, exitBadInput, "junk.gguf: offset 8"},
		{"a text file", []string{filepath.Join(model, "config.json")}, exitBadInput, "neither a GGUF file"},
		{"unknown tensor", []string{model, "--tensor", "blk.9.ffn_up.weight"}, exitBadInput,
			`no tensor "blk.9.ffn_up.weight"`},
		{"integers", []string{integers, "--tensor", "t.int64"}, exitBadInput, "tensor t.int64: type I64"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			stdout, stderr, code := phi3conv(t, append([]string{"inspect"}, tc.args...)...)
			if code != tc.code || stdout != "" || !strings.Contains(stderr, tc.want) {
				t.Errorf("exit %d, expected %d with %q\n%s%s", code, tc.code, tc.want, stdout, stderr)
			}
		})
	}
}
