package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The file holds what transformers computes.
func TestLogits(t *testing.T) {
	var g struct {
		VocabSize int `json:"vocab_size"`
		Cases     []struct {
			Tokens    []int
			Positions []int
			Logits    string
			Window    *int `json:"sliding_window"`
		}
	}
	if err := json.Unmarshal(read(t, "../../testdata/golden/logits.json"), &g); err != nil {
		t.Fatal(err)
	}
	model := tinyModel(t)
	for i, c := range g.Cases {
		if c.Window != nil || len(c.Tokens) > 200 {
			continue
		}
		out := filepath.Join(t.TempDir(), "logits.npy")
		ids := strings.Trim(strings.ReplaceAll(fmt.Sprint(c.Tokens), " ", ","), "[]")
		args := []string{"logits", model, "--tokens", ids, "-o", out}
		if i%2 == 0 {
			file := filepath.Join(t.TempDir(), "tokens.json")
			write(t, file, []byte("["+ids+"]\n"))
			args = []string{"logits", model, "--tokens-file", file, "-o", out, "-t", "2", "-b", "9"}
		}
		if stdout, stderr, code := phi3conv(t, args...); code != exitOK || stdout+stderr != "" {
			t.Fatalf("exit %d\n%s%s", code, stdout, stderr)
		}
		header, got, found := bytes.Cut(read(t, out), []byte("\n"))
		if shape := fmt.Sprintf("'shape': (%d, %d)", len(c.Tokens), g.VocabSize); !found ||
			!bytes.Contains(header, []byte(shape)) || len(got) != 4*len(c.Tokens)*g.VocabSize {
			t.Fatalf("%d bytes after %q, expected those of %s", len(got), header, shape)
		}
		want, err := base64.StdEncoding.DecodeString(c.Logits)
		if err != nil {
			t.Fatal(err)
		}
		for j, pos := range c.Positions {
			for k := range g.VocabSize {
				w := math.Float32frombits(binary.LittleEndian.Uint32(want[4*(j*g.VocabSize+k):]))
				x := math.Float32frombits(binary.LittleEndian.Uint32(got[4*(pos*g.VocabSize+k):]))
				if math.Abs(float64(x-w)) > 1e-3 {
					t.Fatalf("case %d: position %d, token %d: %v, expected %v", i, pos, k, x, w)
				}
			}
		}
	}
}

func TestLogitsLikeliest(t *testing.T) {
	model := tinyModel(t)
	for _, args := range [][]string{
		{"--tokens", "1, 522,299"},
		{"--tokens", "1,522,299", "--fast", "--cache-type", "q8_0"},
		{"--tokens", "1,522,299", "--no-repack"},
	} {
		stdout, stderr, code := phi3conv(t, append([]string{"logits", model, "--json"}, args...)...)
		var all []likely
		if err := json.Unmarshal([]byte(stdout), &all); code != exitOK || stderr != "" || err != nil || len(all) != 10 {
			t.Fatalf("%q: exit %d, %v\n%s%s", args, code, err, stdout, stderr)
		}
		for i := range all[1:] {
			if a, b := all[i], all[i+1]; a.Logit < b.Logit || a.Probability < b.Probability || a.Probability > 1 {
				t.Errorf("%q: %+v before %+v", args, a, b)
			}
		}
		if all[0].Token == "" {
			t.Errorf("%q: no text of token %d", args, all[0].ID)
		}
	}
	stdout, _, code := phi3conv(t, "logits", model, "-p", "Hello")
	if code != exitOK || strings.Count(stdout, "\n") != 11 || !strings.Contains(stdout, "probability\n") {
		t.Errorf("exit %d\n%s", code, stdout)
	}
}

func TestLogitsErrors(t *testing.T) {
	model := tinyModel(t)
	bad := filepath.Join(t.TempDir(), "bad.json")
	write(t, bad, []byte(`{"tokens": [1]}`))
	out := filepath.Join(t.TempDir(), "out.npy")
	long := strings.TrimSuffix(strings.Repeat("1,", 513), ",")
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{nil, exitUsage, "one of --tokens, --tokens-file and --prompt"},
		{[]string{"--tokens", "1", "-p", "a"}, exitUsage, "one of --tokens, --tokens-file and --prompt"},
		{[]string{"--tokens", "1,x"}, exitUsage, `"x" is not a token id`},
		{[]string{"--tokens", "99999999999"}, exitUsage, "is not a token id"},
		{[]string{"--tokens-file", bad}, exitBadInput, "bad.json: expected a JSON array of token ids"},
		{[]string{"--tokens-file", bad + "x"}, exitBadInput, "bad.jsonx: "},
		{[]string{"--tokens", "1", "-b", "0"}, exitUsage, "--batch-size is 0"},
		{[]string{"--tokens", "1", "-t", "0"}, exitUsage, "0 threads"},
		{[]string{"--tokens", "1", "--cache-type", "q4_0"}, exitUsage, "--cache-type: unknown cache type"},
		{[]string{"--tokens", "1,576", "-o", out}, exitBadInput, "token 1 has id 576, expected 0 to 575"},
		{[]string{"--tokens", long, "-o", out}, exitBadInput, "tiny-phi3: 513 tokens do not fit the context of 512"},
	} {
		_, stderr, code := phi3conv(t, append([]string{"logits", model}, c.args...)...)
		if code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%.60q: exit %d, %q, expected %d, %q", c.args, code, stderr, c.code, c.want)
		}
	}
	if _, err := os.Stat(out); !os.IsNotExist(err) {
		t.Errorf("an output was left: %v", err)
	}
}
