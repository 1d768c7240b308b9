package main

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
)

// goldenChat is a conversation with the answer of transformers.
type goldenChat struct {
	Messages  []tokenizer.Message
	Answer    string
	AnswerIDs []int32 `json:"answer_ids"`
	Margin    float64
}

func goldenChats(t *testing.T) []goldenChat {
	t.Helper()
	var g struct{ Cases []goldenChat }
	if err := json.Unmarshal(testmodel.Read(t, "../../testdata/golden/chat.json"), &g); err != nil {
		t.Fatal(err)
	}
	return g.Cases
}

// Greedy answers are those of transformers; of quantized models where the margin is wide.
func TestRun(t *testing.T) {
	for _, m := range []struct {
		path   string
		args   []string
		margin float64
	}{
		{testmodel.Phi3(t), nil, 0.05},
		{tinyGGUF(t, "Q4_K_M"), []string{"--cache-type", "q8_0", "--no-repack", "--batch-size", "3", "-t", "1"}, 4},
	} {
		for _, g := range goldenChats(t) {
			if g.Margin < m.margin || len(g.Messages) > 2 {
				continue
			}
			args := append([]string{"run", m.path, "--temp", "0", "-n", "96"}, m.args...)
			args = append(args, "-p", g.Messages[len(g.Messages)-1].Content)
			if len(g.Messages) == 2 {
				args = append(args, "-sys", g.Messages[0].Content)
			}
			stdout, stderr, code := phi3conv(t, args...)
			if code != exitOK || stdout != g.Answer+"\n" {
				t.Errorf("%q: exit %d, %q, expected %q\n%s", args, code, stdout, g.Answer, stderr)
			}
			if !strings.Contains(stderr, "; answer: ") || !strings.Contains(stderr, " tok/s; seed ") {
				t.Errorf("figures: %s", stderr)
			}
		}
	}
}

func TestRunFlags(t *testing.T) {
	model := testmodel.Phi3(t)
	file := filepath.Join(t.TempDir(), "prompt.txt")
	testmodel.Write(t, file, []byte("What does a cow eat?\n"))
	template := filepath.Join(t.TempDir(), "template.jinja")
	testmodel.Write(t, template,
		[]byte("<|user|>\nWhat does a {{ messages[-1].content }} eat?<|end|>\n<|assistant|>\n"))
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"file", []string{"-f", file}, "A cow eats grass.\n"},
		{"template", []string{"--chat-template-file", template, "-p", "cow"}, "A cow eats grass.\n"},
		{"raw", []string{"--raw", "-p", "<|user|>\nWhat does a cow eat?<|end|>\n<|assistant|>\n"},
			" A cow eats grass.\n"},
		{"within a sentence", []string{"--raw", "-p", "The red ball is", "-n", "4"}, " in the tower.\n"},
		{"one token", []string{"-p", "What does a cow eat?", "-n", "1"}, "A\n"},
		{"no token", []string{"-p", "What does a cow eat?", "-n", "0"}, ""},
		{"stop", []string{"-p", "What does a cow eat?", "--stop", "house", "--stop", "ow ea"}, "A c\n"},
		{"a stop that is only begun", []string{"-p", "What does a cow eat?", "--stop", "grass..", "--stop", "A,"},
			"A cow eats grass.\n"},
		{"a context that becomes full", []string{"-p", "What does a cow eat?", "-c", "14"}, "A cow eat\n"},
		{"few candidates", []string{"-p", "What does a cow eat?", "--temp", "0.01", "--top-p", "0.5", "--min-p", "0",
			"--top-k", "0", "--repeat-penalty", "1.01", "--repeat-last-n", "3"}, "A cow eats grass.\n"},
		{"one candidate", []string{"-p", "What does a cow eat?", "--temp", "2", "--top-k", "1"}, "A cow eats grass.\n"},
	} {
		args := append([]string{"run", model, "--temp", "0"}, c.args...)
		stdout, stderr, code := phi3conv(t, args...)
		if code != exitOK || stdout != c.want {
			t.Errorf("%s: exit %d, %q, expected %q\n%s", c.name, code, stdout, c.want, stderr)
		}
	}
	// The same seed, the same text; another, another.
	story := func(seed string) string {
		stdout, stderr, code := phi3conv(t, "run", model, "-p", "Tell me a story about Zoë.",
			"-n", "40", "--temp", "2", "--seed", seed)
		if code != exitOK || seed != "-1" && !strings.HasSuffix(stderr, "; seed "+seed+"\n") {
			t.Errorf("seed %s: exit %d\n%s", seed, code, stderr)
		}
		return stdout
	}
	if a, b := story("1"), story("1"); a != b {
		t.Errorf("seed 1: %q, then %q", a, b)
	}
	if a, b := story("1"), story("2"); a == b {
		t.Errorf("seeds 1 and 2: %q", a)
	}
	if a, b := story("-1"), story("-1"); a == b {
		t.Errorf("random seeds: %q", a)
	}
}

func TestRunErrors(t *testing.T) {
	model := testmodel.Phi3(t)
	hostile := filepath.Join(t.TempDir(), "hostile.jinja")
	testmodel.Write(t, hostile, []byte("{{ 'a' * 99999999999999 }}"))
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"-p", "a", "--chat-template-file", hostile}, exitBadInput, "hostile.jinja: chat template, line 1: "},
		{nil, exitUsage, "run takes one MODEL, got 2 arguments"},
		{[]string{"-p", "a", "-f", "b"}, exitUsage, "-p and -f exclude each other"},
		{[]string{"-p", "a", "--stop", ""}, exitUsage, "--stop needs a value"},
		{[]string{"-p", "a", "--top-p", "1.5"}, exitUsage, "--top-p is 1.5, expected 0 to 1"},
		{[]string{"-p", "a", "--temp", "-1"}, exitUsage, "--temp is -1, expected 0 to 1e+06"},
		{[]string{"-p", "a", "--top-k", "x"}, exitUsage, `--top-k is "x", expected a whole number`},
		{[]string{"-p", "a", "-c", "-1"}, exitUsage, "-c is -1"},
		{[]string{"-p", "a", "-b", "0"}, exitUsage, "-b is 0, expected 1 to 16384"},
		{[]string{"-p", "a", "-t", "0"}, exitUsage, "-t is 0, expected 1 to 1024"},
		{[]string{"-p", "a", "--cache-type", "q4_0"}, exitUsage,
			`--cache-type: unknown cache type "q4_0"; known: f16 f32 q8_0`},
		{[]string{"-p", "a", "--raw", "-sys", "b"}, exitUsage, "-sys needs a chat template"},
		{[]string{"-p", "a", "--raw", "--chat-template-file", "b"}, exitUsage,
			"--raw and --chat-template-file exclude each other"},
		{[]string{"-f", "absent.txt"}, exitBadInput, "absent.txt"},
		{[]string{"-p", "a", "--chat-template-file", "absent.txt"}, exitBadInput, "absent.txt"},
		{[]string{"-p", "a", "-c", "513"}, exitBadInput, "a context of 513 tokens; the model was made for 1 to 512"},
		{[]string{"-p", "Where is the red ball?", "-c", "9"}, exitBadInput,
			"the prompt is too long: 10 tokens do not fit the context of 9"},
		{[]string{"--raw", "-p", ""}, exitBadInput, "the prompt has no tokens"},
	} {
		args := append([]string{"run", model}, c.args...)
		if c.args == nil {
			args = append(args, "another")
		}
		stdout, stderr, code := phi3conv(t, args...)
		if code != c.code || !strings.Contains(stderr, c.want) || stdout != "" {
			t.Errorf("%q: exit %d, expected %d and %q\n%s%s", c.args, code, c.code, c.want, stdout, stderr)
		}
	}
}

func TestRunJSON(t *testing.T) {
	model := testmodel.Phi3(t)
	var ids []int32
	for _, g := range goldenChats(t) {
		if g.Messages[0].Content == "What does a cow eat?" {
			ids = g.AnswerIDs[:len(g.AnswerIDs)-1]
		}
	}
	for _, c := range []struct {
		args []string
		text string
		ids  []int32
		stop string
	}{
		{nil, "A cow eats grass.", ids, "token"},
		{[]string{"-n", "1"}, "A", ids[:1], "limit"},
		{[]string{"--stop", "cow"}, "A ", nil, "text"},
		{[]string{"-c", "14"}, "A cow eat", nil, "context"},
		{[]string{"-n", "0"}, "", []int32{}, "limit"},
	} {
		args := []string{"run", model, "-p", "What does a cow eat?", "--temp", "0", "--seed", "7", "--json"}
		args = append(args, c.args...)
		stdout, stderr, code := phi3conv(t, args...)
		if code != exitOK || stderr != "" {
			t.Fatalf("%q: exit %d\n%s", c.args, code, stderr)
		}
		var got struct {
			Schema        int
			Text          *string
			Tokens        []int32
			Stop          string
			Seed          uint64
			LoadSeconds   float64 `json:"load_seconds"`
			PromptTokens  int     `json:"prompt_tokens"`
			PromptSeconds float64 `json:"prompt_seconds"`
			PromptRate    float64 `json:"prompt_tokens_per_second"`
			DecodeTokens  *int    `json:"decode_tokens"`
			DecodeSeconds float64 `json:"decode_seconds"`
			DecodeRate    float64 `json:"decode_tokens_per_second"`
		}
		dec := json.NewDecoder(strings.NewReader(stdout))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&got); err != nil {
			t.Fatalf("%v\n%s", err, stdout)
		}
		if got.Text == nil || *got.Text != c.text || got.Stop != c.stop || got.Seed != 7 {
			t.Errorf("%q:\n%s", c.args, stdout)
		}
		if got.Tokens == nil || c.ids != nil && !slices.Equal(got.Tokens, c.ids) {
			t.Errorf("%q:\n%s", c.args, stdout)
		}
		if got.PromptTokens < 9 || got.PromptTokens > 13 || got.DecodeTokens == nil ||
			got.LoadSeconds <= 0 || got.PromptSeconds <= 0 || got.PromptRate <= 0 {
			t.Errorf("%q:\n%s", c.args, stdout)
		}
	}
}

// run says whether a .pmap file was compared with its checksums, and verify does that unless told otherwise.
func TestChecked(t *testing.T) {
	base := testmodel.Phi3(t)
	path := filepath.Join(t.TempDir(), "tiny.pmap")
	if _, stderr, code := phi3conv(t, "convert", base, "--type", "Q8_0", "-o", path); code != exitOK {
		t.Fatal(stderr)
	}
	data := testmodel.Read(t, path)
	data[len(data)/2] ^= 1
	bad := testmodel.Write(t, filepath.Join(t.TempDir(), "bad.pmap"), data)
	ask := []string{"-p", "Hello", "-n", "1"}
	verify := []string{"--base", base, "--text", evalText, "--ctx-size", "32", "--chunks", "1"}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{append([]string{"run", path}, ask...), exitOK, path + " was not compared with its checksums"},
		{append([]string{"run", path, "--check"}, ask...), exitOK, path + ": every byte agrees with its checksum"},
		{append([]string{"run", bad, "--check"}, ask...), exitBadInput, "bad.pmap"},
		{append([]string{"verify", bad}, verify...), exitBadInput, "bad.pmap"},
		{append([]string{"verify", bad, "--no-check"}, verify...), exitOK, ""},
	} {
		if _, stderr, code := phi3conv(t, c.args...); code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%q: exit %d, expected %d: %s", c.args, code, c.code, stderr)
		}
	}
}
