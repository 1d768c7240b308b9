package main

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/testmodel"
)

// sizes are those of a model, by the names that all commands have for them.
type sizes struct {
	Bytes      int64   `json:"bytes"`
	Parameters int64   `json:"parameters"`
	FileBytes  int64   `json:"file_bytes"`
	Bits       float64 `json:"bits_per_weight"`
}

// One model has one size, whatever command tells it: with LongRoPE factors, which are tensors of a GGUF file, and with
// every architecture.
func TestSizes(t *testing.T) {
	text, err := filepath.Abs(evalText)
	if err != nil {
		t.Fatal(err)
	}
	task, err := filepath.Abs(choiceTask)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	for _, name := range []string{"tiny-phi3", "tiny-phi2", "tiny-phi3small", "tiny-phimoe"} {
		dir := testmodel.Copy(t, name)
		if name == "tiny-phi3" {
			for key, value := range map[string]any{
				"max_position_embeddings": 4096,
				"rope_scaling": map[string]any{"type": "longrope", "short_factor": slices.Repeat([]float64{1}, 32),
					"long_factor": slices.Repeat([]float64{2}, 32)},
			} {
				testmodel.Edit{File: "config.json", At: []any{key}, Value: value}.Apply(t, dir)
			}
		}
		gguf, pmap := name+".gguf", name+".pmap"
		want := sizesOf(t, "convert", dir, "-o", gguf, "--type", "Q4_K_M")
		bits := 8 * float64(want.Bytes) / float64(want.Parameters)
		if want.Bytes == 0 || want.FileBytes <= want.Bytes || want.Bits != bits {
			t.Errorf("%s: %+v", name, want)
		}
		plan := sizesOf(t, "convert", dir, "-o", gguf, "--type", "Q4_K_M", "--dry-run")
		copied := sizesOf(t, "convert", gguf, "-o", pmap)
		for _, c := range []struct {
			path, command string
			got, want     sizes
		}{
			{gguf, "convert --dry-run", plan, want},
			{gguf, "inspect", inspected(t, gguf), want},
			{gguf, "verify", verified(t, dir, gguf, text), want},
			{gguf, "eval", evaluated(t, gguf, task), want},
			{gguf, "bench", benched(t, gguf), want},
			{pmap, "inspect", inspected(t, pmap), copied},
			{pmap, "verify", verified(t, dir, pmap, text), copied},
			{pmap, "bench", benched(t, pmap), copied},
		} {
			if c.got.Parameters == 0 { // it does not tell
				c.got.Parameters = c.want.Parameters
			}
			if c.command == "bench" {
				c.got.FileBytes, c.got.Bits = c.want.FileBytes, c.want.Bits
			}
			if c.got != c.want {
				t.Errorf("%s: %s says %+v, expected %+v", c.path, c.command, c.got, c.want)
			}
		}
		if copied.Bytes != want.Bytes || copied.Parameters != want.Parameters {
			t.Errorf("%s: %+v, the file that it is a copy of: %+v", pmap, copied, want)
		}
	}
}

func decode(t *testing.T, text string, to any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), to); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
}

// printed runs a command with --json and decodes what it prints.
func printed(t *testing.T, to any, args ...string) {
	t.Helper()
	stdout, stderr, code := phi3conv(t, append(args, "--json")...)
	if code != exitOK && code != exitFailed {
		t.Fatalf("%s: %s", strings.Join(args, " "), stderr)
	}
	decode(t, stdout, to)
}

func sizesOf(t *testing.T, args ...string) (s sizes) {
	t.Helper()
	printed(t, &s, args...)
	return s
}

func inspected(t *testing.T, path string) sizes {
	t.Helper()
	var r struct {
		FileBytes int64 `json:"file_bytes"`
		Total     sizes
	}
	printed(t, &r, "inspect", path)
	r.Total.FileBytes = r.FileBytes
	return r.Total
}

func verified(t *testing.T, base, path, text string) sizes {
	t.Helper()
	var r struct{ Quant sizes }
	printed(t, &r, "verify", path, "--base", base, "--text", text, "-c", "64", "--chunks", "1")
	return r.Quant
}

func evaluated(t *testing.T, path, task string) sizes {
	t.Helper()
	var r struct{ Models []sizes }
	printed(t, &r, "eval", path, "--task", task, "--shots", "0", "--limit", "1")
	return r.Models[0]
}

func benched(t *testing.T, path string) sizes {
	t.Helper()
	var r struct {
		Results []struct {
			Size   int64 `json:"model_size"`
			Params int64 `json:"model_n_params"`
		}
	}
	printed(t, &r, "bench", path, "-p", "1", "-n", "0", "-r", "1")
	return sizes{Bytes: r.Results[0].Size, Parameters: r.Results[0].Params}
}
