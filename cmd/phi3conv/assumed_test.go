package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/testmodel"
)

// othersGGUF makes a GGUF with the keys that llama.cpp's converter writes about the end of an answer: eos alone.
func othersGGUF(t *testing.T) string {
	t.Helper()
	keys := []string{"phi3conv.rstrip_token_ids"}
	for _, key := range []string{"eos_token_ids", "eot_token_id", "eom_token_id"} {
		keys = append(keys, "tokenizer.ggml."+key)
	}
	return withoutKey(t, tinyGGUF(t, "F32"), keys...)
}

// The answers of transformers come from such a file too. run and verify say in a line what was assumed, and lint why.
func TestAssumed(t *testing.T) {
	path := othersGGUF(t)
	const line = "does not say all that it should; assumed: answers end at "
	for _, g := range goldenChats(t)[:3] {
		stdout, stderr, code := phi3conv(t, "run", path, "--temp", "0", "-n", "96", "-p", g.Messages[0].Content)
		if code != exitOK || stdout != g.Answer+"\n" || strings.Count(stderr, line) != 1 {
			t.Errorf("exit %d, %q, expected %q\n%s", code, stdout, g.Answer, stderr)
		}
	}
	text := testmodel.Write(t, filepath.Join(t.TempDir(), "a.txt"), []byte(strings.Repeat("A cow eats grass. ", 40)))
	_, stderr, code := phi3conv(t, "verify", path, "--base", testmodel.Phi3(t), "--text", text, "-c", "32")
	if code != exitOK || strings.Count(stderr, line) != 1 {
		t.Errorf("verify: exit %d\n%s", code, stderr)
	}
	stdout, _, _ := phi3conv(t, "lint", path, "--fast")
	if !strings.Contains(stdout, "PHI205") || !strings.Contains(stdout, "PHI503") {
		t.Errorf("lint:\n%s", stdout)
	}
}
