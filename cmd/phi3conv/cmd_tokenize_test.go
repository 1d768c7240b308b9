package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/testmodel"
)

// withInput makes text the standard input.
func withInput(t *testing.T, text string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stdin")
	testmodel.Write(t, path, []byte(text))
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	old := os.Stdin
	os.Stdin = f
	t.Cleanup(func() { os.Stdin = old; _ = f.Close() })
}

func TestTokenize(t *testing.T) {
	model := testmodel.Phi3(t)
	file := filepath.Join(t.TempDir(), "text")
	testmodel.Write(t, file, []byte("<|user|>\nHello"))
	withInput(t, "Hello")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-p", "Hello", "--ids"}, "[299, 314, 445]\n"},
		{[]string{"--ids"}, "[299, 314, 445]\n"},
		{[]string{"-f", file, "--ids"}, "[522, 299, 314, 445]\n"},
		{[]string{"-p", "", "--ids"}, "[]\n"},
		{[]string{"-p", "<|end|> Hello"}, "519  \"<|end|>\"\n299  \"▁H\"\n314  \"ell\"\n445  \"o\"\n"},
	} {
		stdout, stderr, code := phi3conv(t, append([]string{"tokenize", model}, c.args...)...)
		if code != exitOK || stderr != "" || stdout != c.want {
			t.Errorf("%q: exit %d\n%s%s\nexpected\n%s", c.args, code, stdout, stderr, c.want)
		}
	}

	stdout, _, code := phi3conv(t, "tokenize", model, "--json", "--no-parse-special", "-p", "<s>")
	var got tokensJSON
	err := json.Unmarshal([]byte(stdout), &got)
	if code != exitOK || err != nil || strings.Join(got.Tokens, "") != "▁<0x3C>s<0x3E>" || len(got.IDs) != 4 {
		t.Errorf("exit %d, %v\n%s", code, err, stdout)
	}
}

func TestDetokenize(t *testing.T) {
	model := testmodel.Phi3(t)
	file := filepath.Join(t.TempDir(), "ids")
	testmodel.Write(t, file, []byte("[522, 299,\n314 445]"))
	withInput(t, "299 314 445")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"299", "314", "445"}, "Hello"},
		{[]string{"299,314,445,519"}, "Hello"},
		{nil, "Hello"},
		{[]string{"-f", file, "--special"}, "<|user|> Hello"},
		{[]string{"--json", "299"}, "{\n  \"schema\": 1,\n  \"text\": \"H\"\n}\n"},
	} {
		stdout, stderr, code := phi3conv(t, append([]string{"detokenize", model}, c.args...)...)
		if code != exitOK || stderr != "" || stdout != c.want {
			t.Errorf("%q: exit %d\n%s%s\nexpected\n%s", c.args, code, stdout, stderr, c.want)
		}
	}
}

func TestTokenizeMistakes(t *testing.T) {
	model := testmodel.Phi3(t)
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"tokenize"}, exitUsage, "takes one MODEL"},
		{[]string{"tokenize", model, "-p", "a", "-f", "b"}, exitUsage, "exclude each other"},
		{[]string{"tokenize", model, "--ids", "--json", "-p", "a"}, exitUsage, "exclude each other"},
		{[]string{"tokenize", model, "-f", filepath.Join(model, "missing")}, exitBadInput, "missing"},
		{[]string{"tokenize", filepath.Join(model, "missing"), "-p", "a"}, exitBadInput, "missing"},
		{[]string{"tokenize", filepath.Join(model, "model.safetensors"), "-p", "a"}, exitBadInput, "model.safetensors"},
		{[]string{"detokenize"}, exitUsage, "takes a MODEL"},
		{[]string{"detokenize", model, "1", "-f", "b"}, exitUsage, "exclude each other"},
		{[]string{"detokenize", model, "1", "x"}, exitUsage, `id 2 is "x"`},
		{[]string{"detokenize", model, "1", "576"}, exitBadInput, "id 2 of 2 is 576, expected 0 to 575"},
	} {
		stdout, stderr, code := phi3conv(t, c.args...)
		if code != c.code || (stdout != "") != slices.Contains(c.args, "--json") || !strings.Contains(stderr, c.want) {
			t.Errorf("%q: exit %d\n%s%s\nexpected exit %d and %q", c.args, code, stdout, stderr, c.code, c.want)
		}
	}
}
