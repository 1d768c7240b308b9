package main

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/testmodel"
)

func TestLint(t *testing.T) {
	model := testmodel.Phi3(t)
	stdout, stderr, code := phi3conv(t, "lint", model)
	if code != exitOK || stderr != "" || !strings.Contains(stdout, "tiny-phi3: no problems found (") {
		t.Errorf("the tiny model: exit %d\n%s%s", code, stdout, stderr)
	}
	stdout, _, code = phi3conv(t, "lint", model, "--fast")
	if code != exitOK || !strings.Contains(stdout, " checks, tensor data not read)\n") {
		t.Errorf("--fast: exit %d\n%s", code, stdout)
	}

	// What convert makes is in order.
	out := filepath.Join(t.TempDir(), "Phi-3-tiny.gguf")
	if _, stderr, code := phi3conv(t, "convert", model, "-o", out, "--type", "Q4_K_M"); code != exitOK {
		t.Fatal(stderr)
	}
	if stdout, _, code := phi3conv(t, "lint", out); code != exitOK || !strings.Contains(stdout, "no problems found") {
		t.Errorf("converted: exit %d\n%s", code, stdout)
	}
}

// damaged is the tiny model with a missing stop id, and with zeros in all its weights.
func damaged(t *testing.T) string {
	t.Helper()
	model := testmodel.Phi3(t)
	generation := filepath.Join(model, "generation_config.json")
	testmodel.Write(t, generation, bytes.Replace(testmodel.Read(t, generation), []byte("519"), []byte("512"), 1))
	weights := filepath.Join(model, "model.safetensors")
	data := testmodel.Read(t, weights)
	clear(data[len(data)-5313024:]) // the tensors
	testmodel.Write(t, weights, data)
	return model
}

func TestLintFindings(t *testing.T) {
	stdout, stderr, code := phi3conv(t, "lint", damaged(t))
	if code != exitFailed || stderr != "" {
		t.Errorf("exit %d, stderr %q", code, stderr)
	}
	const want = `error PHI504: the token that ends a turn is no stop id
  <|end|>  token 519 is not among the stop ids [512 513]
  why: transformers stops at the ids of generation_config.json only; without
       this one the model goes on and writes the user's next turn itself.
  fix: Add its id to the list eos_token_id in generation_config.json: [32000,
       32001, 32007] for Phi-3 and Phi-3.5, [100257, 100265] for Phi-4, [199999,
       200020] for Phi-4-mini.

error PHI702: all values are zero
  lm_head.weight                                  147456 values
  model.embed_tokens.weight                       147456 values
  model.layers.0.input_layernorm.weight           256 values
  model.layers.0.mlp.down_proj.weight             131072 values
  model.layers.0.mlp.gate_up_proj.weight          262144 values
  model.layers.0.post_attention_layernorm.weight  256 values
  model.layers.0.self_attn.o_proj.weight          65536 values
  model.layers.0.self_attn.qkv_proj.weight        131072 values
  model.layers.1.input_layernorm.weight           256 values
  model.layers.1.mlp.down_proj.weight             131072 values
  … and 17 more
  why: The tensor was never filled: a failed save, a hole in a sparse file, or a
       bad merge.
  fix: Download the file again and compare its size or SHA-256 with the
       publisher's.

`
	if !strings.HasPrefix(stdout, want) || !strings.Contains(stdout[len(want):], "tiny-phi3: 28 errors (") {
		t.Errorf("got\n%s\nexpected\n%s", stdout, want)
	}
}

func TestLintJSON(t *testing.T) {
	stdout, _, code := phi3conv(t, "lint", "--json", "--threads", "1", damaged(t))
	var r struct {
		Format   string
		Errors   int
		Warnings *int
		Checks   int
		Findings []map[string]string
	}
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatalf("%v\n%s", err, stdout)
	}
	if code != exitFailed || r.Format != "safetensors" || r.Errors != 28 || r.Warnings == nil || *r.Warnings != 0 ||
		r.Checks < 30 || len(r.Findings) != 28 {
		t.Errorf("exit %d, got %+v", code, r)
	}
	for _, key := range []string{"code", "severity", "title", "subject", "message", "why", "fix"} {
		if r.Findings[0][key] == "" {
			t.Errorf("the first finding has no %s: %v", key, r.Findings[0])
		}
	}
	stdout, _, _ = phi3conv(t, "lint", "--json", "--fast", testmodel.Phi3(t))
	if !strings.Contains(stdout, `"findings": []`) {
		t.Errorf("no findings must be an empty list:\n%s", stdout)
	}
}

func TestLintForms(t *testing.T) {
	dir := t.TempDir()
	markdown, junit := filepath.Join(dir, "lint.md"), filepath.Join(dir, "lint.xml")
	sarif := filepath.Join(dir, "lint.sarif")
	stdout, _, code := phi3conv(t, "lint", damaged(t), "--markdown", markdown, "--junit", junit, "--sarif", sarif)
	if code != exitFailed || !strings.Contains(stdout, "28 errors (") {
		t.Errorf("exit %d\n%s", code, stdout)
	}
	for path, want := range map[string]string{
		markdown: "| error | PHI504 | &#60;&#124;end&#124;&#62; |",
		junit:    `<testcase classname="lint.PHI504"`,
		sarif:    `"ruleId": "PHI504"`,
	} {
		if got := string(testmodel.Read(t, path)); !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
}

func TestLintMistakes(t *testing.T) {
	model := testmodel.Phi3(t)
	for _, tc := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"nothing", []string{"lint"}, exitUsage, "lint takes one FILE or DIR, got 0 arguments"},
		{"two", []string{"lint", model, model}, exitUsage, "got 2 arguments"},
		{"no threads", []string{"lint", model, "--threads", "0"}, exitUsage, "--threads is 0, expected 1 to 1024"},
		{"not there", []string{"lint", filepath.Join(model, "x.gguf")}, exitBadInput, "x.gguf"},
		{"a single file of a checkpoint", []string{"lint", filepath.Join(model, "model.safetensors")}, exitBadInput,
			"check its directory"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			stdout, stderr, code := phi3conv(t, tc.args...)
			if code != tc.code || stdout != "" || !strings.Contains(stderr, tc.want) {
				t.Errorf("exit %d, expected %d with %q\n%s%s", code, tc.code, tc.want, stdout, stderr)
			}
		})
	}
}
