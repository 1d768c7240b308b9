package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const calibText = "../../testdata/tiny-phi3-calib.txt"

// Statistics go from calibrate to quantize, in both forms with the same effect, and the file says so.
func TestCalibrate(t *testing.T) {
	model, dir := tinyModel(t), t.TempDir()
	stats, older := filepath.Join(dir, "stats.gguf"), filepath.Join(dir, "stats.dat")
	for _, out := range []string{stats, older} {
		stdout, stderr, code := phi3conv(t, "calibrate", model, "--text", calibText, "-o", out, "-c", "64", "--chunks", "6", "-t", "2")
		if code != exitOK || !strings.Contains(stdout, "17 linear layers, 384 tokens in 6 sequences") || !strings.Contains(stderr, "warning: 384 tokens are few") {
			t.Fatalf("exit %d\n%s%s", code, stdout, stderr)
		}
	}
	files := map[string][]byte{}
	for name, flag := range map[string]string{"none": "", "gguf": stats, "dat": older} {
		out := filepath.Join(dir, name+".gguf")
		args := []string{"convert", model, "-o", out, "--type", "Q4_K"}
		if flag != "" {
			args = append(args, "--imatrix", flag)
		}
		if stdout, stderr, code := phi3conv(t, args...); code != exitOK || stderr != "" {
			t.Fatalf("exit %d\n%s%s", code, stdout, stderr)
		}
		stdout, _, _ := phi3conv(t, "inspect", out, "--tensor", "blk.0.attn_qkv.weight", "--json")
		files[name] = []byte(stdout)
		stdout, _, _ = phi3conv(t, "inspect", out)
		if has := strings.Contains(stdout, "quantize.imatrix.entries_count"); has != (flag != "") {
			t.Errorf("%s: quantize.imatrix keys: %v", name, has)
		}
	}
	sum := func(name string) (v struct {
		Tensors []json.RawMessage `json:"tensors"`
	}) {
		if err := json.Unmarshal(files[name], &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	if !bytes.Equal(sum("gguf").Tensors[0], sum("dat").Tensors[0]) || bytes.Equal(sum("gguf").Tensors[0], sum("none").Tensors[0]) {
		t.Errorf("%s\n%s\n%s", files["gguf"], files["dat"], files["none"])
	}

	stdout, stderr, code := phi3conv(t, "calibrate", "--show", stats, "--against", calibText, model)
	for _, want := range []string{"blk.3.ffn_down.weight", "6 chunks of 64, from: tiny-phi3-calib.txt", "100.0 % of the calibration text"} {
		if code != exitOK || stderr != "" || !strings.Contains(stdout, want) {
			t.Errorf("exit %d, expected %q\n%s%s", code, want, stdout, stderr)
		}
	}
	if stdout, _, code := phi3conv(t, "calibrate", "--show", older); code != exitOK || !strings.Contains(stdout, "17 linear layers, 6 chunks, from") {
		t.Errorf("exit %d\n%s", code, stdout)
	}
	stdout, _, _ = phi3conv(t, "calibrate", "--show", stats, "--json")
	var summary struct {
		Tokens  int
		Entries []struct{ Tensor string }
	}
	if err := json.Unmarshal([]byte(stdout), &summary); err != nil || summary.Tokens != 384 || len(summary.Entries) != 17 {
		t.Errorf("%v\n%s", err, stdout)
	}
}

func TestCalibrateMistakes(t *testing.T) {
	model, dir := tinyModel(t), t.TempDir()
	out := filepath.Join(dir, "stats.gguf")
	short, other := filepath.Join(dir, "short.txt"), filepath.Join(dir, "other.dat")
	write(t, short, []byte("Hello"))
	write(t, other, []byte("\x01\x00\x00\x00\x0c\x00\x00\x00blk.9.weight\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x80\x3f"))
	wide := filepath.Join(dir, "wide.dat")
	write(t, wide, []byte("\x01\x00\x00\x00\x15\x00\x00\x00blk.0.attn_qkv.weight\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x80\x3f"))
	for _, c := range []struct {
		code int
		want string
		args []string
	}{
		{exitUsage, "one MODEL", []string{"calibrate"}},
		{exitUsage, "needs --output", []string{"calibrate", model, "--text", calibText}},
		{exitUsage, "--temperature is -1", []string{"calibrate", model, "-o", out, "--temperature", "-1"}},
		{exitUsage, "--self-share is 1", []string{"calibrate", model, "--text", calibText, "-o", out, "--self", "--self-share", "1"}},
		{exitUsage, "expected 2 to 512", []string{"calibrate", model, "--text", calibText, "-o", out, "-c", "513"}},
		{exitUsage, "not both", []string{"calibrate", model, "--text", calibText, "-o", out, "--chunks", "1", "--tokens", "1"}},
		{exitUsage, "at least 1", []string{"calibrate", model, "--text", calibText, "-o", out, "--chunks", "0"}},
		{exitUsage, "--max-ram is 1.0 MiB, expected at least", []string{"calibrate", model, "--text", calibText, "-o", out, "--max-ram", "1MiB"}},
		{exitUsage, "--max-ram is 1.0 MiB, expected at least", []string{"calibrate", model, "--text", calibText, "-o", out,
			"--fisher", "--max-ram", "1MiB"}},
		{exitUsage, "flag provided but not defined: -hessian", []string{"calibrate", model, "--text", calibText, "-o", filepath.Join(dir, "a.gguf"), "--hessian"}},
		{exitUsage, "is an input", []string{"calibrate", model, "--text", short, "-o", short}},
		{exitBadInput, "too few for a sequence of 512", []string{"calibrate", model, "--text", short, "-o", out}},
		{exitBadInput, "none.txt", []string{"calibrate", model, "--text", filepath.Join(dir, "none.txt"), "-o", out}},
		{exitBadInput, "number of entries", []string{"calibrate", "--show", short}},
		{exitUsage, "needs MODEL", []string{"calibrate", "--show", other, "--against", short}},
		{exitBadInput, "--against is impossible", []string{"calibrate", "--show", other, "--against", short, model}},
		{exitBadInput, "another model's", []string{"convert", model, "-o", out, "--imatrix", other}},
		{exitBadInput, "for 1 columns, and the model has 256", []string{"convert", model, "-o", out, "--imatrix", wide}},
	} {
		stdout, stderr, code := phi3conv(t, c.args...)
		if code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%q: exit %d, expected %d and %q\n%s%s", c.args[1:], code, c.code, c.want, stdout, stderr)
		}
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("an output was written")
	}
}
