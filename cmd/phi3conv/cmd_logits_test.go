package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/job/logits"
	"github.com/phi3conv/phi3conv/internal/testmodel"
)

// The tokens come from any of three flags; internal/job/logits tests the values.
func TestLogits(t *testing.T) {
	model, dir := testmodel.Phi3(t), t.TempDir()
	file := filepath.Join(dir, "tokens.json")
	testmodel.Write(t, file, []byte("[299, 314, 445]\n"))
	var first []byte
	for i, args := range [][]string{
		{"--tokens", "299,314,445"},
		{"--tokens-file", file, "-t", "2", "-b", "2"},
		{"-p", "Hello"},
	} {
		out := filepath.Join(dir, fmt.Sprint("logits", i, ".npy"))
		stdout, stderr, code := phi3conv(t, append([]string{"logits", model, "-o", out}, args...)...)
		if code != exitOK || stdout+stderr != "" {
			t.Fatalf("exit %d\n%s%s", code, stdout, stderr)
		}
		data := testmodel.Read(t, out)
		if i == 0 {
			first = data
		}
		if !bytes.Contains(data, []byte("'shape': (3, 576)")) || !bytes.Equal(data, first) {
			t.Errorf("%q: %d bytes, which begin with %.100q", args, len(data), data)
		}
	}
}

func TestLogitsLikeliest(t *testing.T) {
	model := testmodel.Phi3(t)
	for _, args := range [][]string{
		{"--tokens", "1, 522,299"},
		{"--tokens", "1,522,299", "--fast", "--cache-type", "q8_0"},
		{"--tokens", "1,522,299", "--no-repack"},
	} {
		stdout, stderr, code := phi3conv(t, append([]string{"logits", model, "--json"}, args...)...)
		var r logits.Result
		err := json.Unmarshal([]byte(stdout), &r)
		all := r.Next
		if code != exitOK || stderr != "" || err != nil || len(all) != 10 {
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
	model := testmodel.Phi3(t)
	bad := filepath.Join(t.TempDir(), "bad.json")
	testmodel.Write(t, bad, []byte(`{"tokens": [1]}`))
	out := filepath.Join(t.TempDir(), "out.npy")
	long := strings.TrimSuffix(strings.Repeat("1,", 513), ",")
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{nil, exitUsage, "one of --tokens, --tokens-file, --prompt and --file"},
		{[]string{"--tokens", "1", "-p", "a"}, exitUsage, "one of --tokens, --tokens-file, -p and --file"},
		{[]string{"--tokens", "1,x"}, exitUsage, `"x" is not a token id`},
		{[]string{"--tokens", "99999999999"}, exitUsage, "is not a token id"},
		{[]string{"--tokens-file", bad}, exitBadInput, "bad.json: expected a JSON array of token ids"},
		{[]string{"--tokens-file", bad + "x"}, exitBadInput, "bad.jsonx: "},
		{[]string{"--tokens", "1", "-b", "0"}, exitUsage, "-b is 0"},
		{[]string{"--tokens", "1", "-t", "0"}, exitUsage, "-t is 0"},
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
