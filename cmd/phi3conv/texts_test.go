package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/testmodel"
)

// withStdin lets a file be the standard input of the program.
func withStdin(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	stdin := os.Stdin
	os.Stdin = f
	t.Cleanup(func() {
		os.Stdin = stdin
		_ = f.Close()
	})
}

// What a command makes of a text in standard input is what it makes of the same text in a file of that name.
func TestStandardInput(t *testing.T) {
	model, out := testmodel.Phi3(t), filepath.Join(t.TempDir(), "out")
	question, ids := []byte("What does a cow eat?\n"), []byte("[1, 2, 3]")
	questions := []byte(`{"question": "What does a cow eat?", "choices": ["grass", "stones"], "answer": 0}` + "\n")
	text := testmodel.Read(t, evalText)
	for _, c := range []struct {
		text []byte
		args []string // the name follows
	}{
		{question, []string{"run", model, "--temp", "0", "-f"}},
		{question, []string{"logits", model, "-f"}},
		{ids, []string{"logits", model, "--tokens-file"}},
		{question, []string{"tokenize", model, "-f"}},
		{ids, []string{"detokenize", model, "-f"}},
		{questions, []string{"eval", model, "--shots", "0", "--task"}},
		{text, []string{"seal", model, "-o", out, "--full", "1", "--ctx-size", "32", "--chunks", "1", "--text"}},
		{text, []string{"calibrate", model, "-o", out, "--ctx-size", "32", "--chunks", "1", "--text"}},
		{text, []string{"verify", model, "--base", model, "--ctx-size", "32", "--chunks", "1", "--text"}},
	} {
		file := testmodel.Write(t, filepath.Join(t.TempDir(), "standard input"), c.text)
		var got [2]string
		for i, name := range []string{file, "-"} {
			withStdin(t, file)
			stdout, stderr, code := phi3conv(t, append(slices.Clone(c.args), name)...)
			if code != exitOK {
				t.Fatalf("%q: exit %d\n%s", c.args, code, stderr)
			}
			if got[i] = stdout; slices.Contains(c.args, out) {
				got[i] = string(testmodel.Read(t, out)) // what is printed says how long it took
				if err := os.Remove(out); err != nil {
					t.Fatal(err)
				}
			}
		}
		if got[0] == "" || got[0] != got[1] {
			t.Errorf("%q: of a file %q, of standard input %q", c.args, got[0], got[1])
		}
	}
}

func TestStandardInputErrors(t *testing.T) {
	model, text := testmodel.Phi3(t), filepath.Join(t.TempDir(), "text.txt")
	testmodel.Write(t, text, testmodel.Read(t, evalText))
	withStdin(t, text)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"calibrate", model, "--text", "-", "--against", "-", "-o", "x.gguf"},
			"standard input (-) was given 2 times, but can be read only once"},
		{[]string{"seal", model, "--text", "-", "-o", text, "--force"},
			"text.txt is a file of the input standard input"},
	} {
		if _, stderr, code := phi3conv(t, c.args...); code != exitUsage || !strings.Contains(stderr, c.want) {
			t.Errorf("%q: exit %d, expected %q\n%s", c.args, code, c.want, stderr)
		}
	}
}

// A pipe into run --json is a prompt, and what comes out is one JSON document.
func TestRunPipedJSON(t *testing.T) {
	model := testmodel.Phi3(t)
	var out bytes.Buffer
	stderr, err := runWith(t.Context(), strings.NewReader("What does\na cow eat?\n"), &out,
		"run", model, "--temp", "0", "--json")
	var got struct{ Text string }
	if err != nil || stderr != "" || json.Unmarshal(out.Bytes(), &got) != nil || got.Text == "" {
		t.Errorf("%v, %s\n%s", err, out.String(), stderr)
	}
	want, _, _ := phi3conv(t, "run", model, "--temp", "0", "-p", "What does\na cow eat?")
	if got.Text+"\n" != want {
		t.Errorf("%q, expected %q", got.Text, want)
	}
}
