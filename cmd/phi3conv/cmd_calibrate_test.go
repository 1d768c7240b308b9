package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/testmodel"
)

const calibText = "../../testdata/tiny-phi3-calib.txt"

// Parts of a file in llama.cpp's older format, around the length and the name of a tensor.
const (
	olderEntries = "\x01\x00\x00\x00"
	olderValue   = "\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x80\x3f" // one chunk, one column, 1.0
)

// Both formats of statistics have the same effect on a quantized file, which says that it was made with some.
func TestCalibrate(t *testing.T) {
	model, dir := testmodel.Phi3(t), t.TempDir()
	made := map[string]string{"": quantizedWith(t, model, "")}
	for _, format := range []string{".gguf", ".dat"} {
		stats := filepath.Join(dir, "stats"+format)
		stdout, stderr, code := phi3conv(t, "calibrate", model, "--text", calibText, "-o", stats, "-c", "64",
			"--chunks", "6", "-t", "2")
		if code != exitOK || !strings.Contains(stdout, "17 linear layers, 384 tokens in 6 sequences") ||
			!strings.Contains(stderr, "phi3conv: note: 384 tokens are few") {
			t.Fatalf("exit %d\n%s%s", code, stdout, stderr)
		}
		made[format] = quantizedWith(t, model, stats)
	}
	if made[".gguf"] != made[".dat"] || made[".gguf"] == made[""] {
		t.Errorf("statistics in .gguf, in .dat, and none:\n%s\n%s\n%s", made[".gguf"], made[".dat"], made[""])
	}
}

// quantizedWith quantizes the model with statistics, none if stats is empty, and returns the figures of a tensor.
func quantizedWith(t *testing.T, model, stats string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out.gguf")
	args := []string{"convert", model, "-o", out, "--type", "Q4_K"}
	if stats != "" {
		args = append(args, "--imatrix", stats)
	}
	if stdout, stderr, code := phi3conv(t, args...); code != exitOK || stderr != "" {
		t.Fatalf("exit %d\n%s%s", code, stdout, stderr)
	}
	stdout, _, _ := phi3conv(t, "inspect", out)
	if has := strings.Contains(stdout, "quantize.imatrix.entries_count"); has != (stats != "") {
		t.Errorf("statistics %q: quantize.imatrix keys: %v", stats, has)
	}
	stdout, _, _ = phi3conv(t, "inspect", out, "--tensor", "blk.0.attn_qkv.weight", "--json")
	return strings.ReplaceAll(stdout, out, "")
}

func TestCalibrateShow(t *testing.T) {
	model := testmodel.Phi3(t)
	stats := tinyStats(t, model)
	stdout, stderr, code := phi3conv(t, "calibrate", "--show", stats, "--against", calibText, model)
	for _, want := range []string{
		"blk.3.ffn_down.weight", "3 chunks of 64, from: tiny-phi3-calib.txt", "100.0 % of the calibration text",
	} {
		if code != exitOK || stderr != "" || !strings.Contains(stdout, want) {
			t.Errorf("exit %d, expected %q\n%s%s", code, want, stdout, stderr)
		}
	}
	stdout, _, _ = phi3conv(t, "calibrate", "--show", stats, "--json")
	var summary struct {
		Tokens  int
		Entries []struct{ Tensor string }
	}
	if err := json.Unmarshal([]byte(stdout), &summary); err != nil || summary.Tokens != 192 ||
		len(summary.Entries) != 17 {
		t.Errorf("%v\n%s", err, stdout)
	}
	// llama.cpp's older format, which does not say how long its chunks are.
	older := olderEntries + "\x0c\x00\x00\x00blk.9.weight" + olderValue
	path := filepath.Join(t.TempDir(), "older.dat")
	testmodel.Write(t, path, []byte(older))
	if stdout, _, code := phi3conv(t, "calibrate", "--show", path); code != exitOK ||
		!strings.Contains(stdout, "1 linear layers, ") {
		t.Errorf("exit %d\n%s", code, stdout)
	}
}

// Processes of an array make the parts of a calibration, of which the merge makes the file of one run.
func TestCalibrateShards(t *testing.T) {
	model, dir := testmodel.Phi3(t), t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	args := func(more ...string) []string {
		return append([]string{"calibrate", model, "--text", calibText, "-c", "64", "--chunks", "17",
			"--json"}, more...)
	}
	if _, stderr, code := phi3conv(t, args("-o", at("one.gguf"))...); code != exitOK {
		t.Fatal(stderr)
	}
	for _, index := range []string{"0", "1"} {
		t.Setenv("JOB_COMPLETION_INDEX", index)
		t.Setenv("JOB_COMPLETIONS", "")
		stdout, _, code := phi3conv(t, args("--shard", "auto", "-o", at(index+".shard"))...)
		if code != exitUsage || !strings.Contains(stdout, "set JOB_COMPLETIONS") {
			t.Errorf("without their number: exit %d\n%s", code, stdout)
		}
		t.Setenv("JOB_COMPLETIONS", "2")
		stdout, stderr, code := phi3conv(t, args("--shard", "auto", "-o", at(index+".shard"))...)
		if code != exitOK || !strings.Contains(stdout, `"n": 2`) {
			t.Fatalf("exit %d\n%s%s", code, stdout, stderr)
		}
	}
	t.Setenv("JOB_COMPLETIONS", "1")
	if _, stderr, code := phi3conv(t, "verify", "x", "--base", "y", "--text", "z", "--report", at("r.json"),
		"--shard", "auto"); code != exitUsage || !strings.Contains(stderr, "this is part 2 of 1") {
		t.Errorf("exit %d\n%s", code, stderr)
	}
	stdout, stderr, code := phi3conv(t, "calibrate", "merge", at("1.shard"), at("0.shard"), "-o", at("merged.gguf"),
		"--json")
	if code != exitOK || !strings.Contains(stderr, "1088 tokens are few") {
		t.Fatalf("exit %d\n%s%s", code, stdout, stderr)
	}
	if string(testmodel.Read(t, at("one.gguf"))) != string(testmodel.Read(t, at("merged.gguf"))) {
		t.Error("other bytes than those of one run")
	}
}

func TestCalibrateMistakes(t *testing.T) {
	model, dir := testmodel.Phi3(t), t.TempDir()
	out := filepath.Join(dir, "stats.gguf")
	short, other, wide := filepath.Join(dir, "short"), filepath.Join(dir, "other.dat"), filepath.Join(dir, "wide.dat")
	testmodel.Write(t, short, []byte("Hello"))
	testmodel.Write(t, other, []byte(olderEntries+"\x0c\x00\x00\x00blk.9.weight"+olderValue))
	testmodel.Write(t, wide, []byte(olderEntries+"\x15\x00\x00\x00blk.0.attn_qkv.weight"+olderValue))
	paths := strings.NewReplacer("MODEL", model, "TEXT", calibText, "DIR", dir, "OUT", out, "SHORT", short,
		"OTHER", other, "WIDE", wide)
	for line, want := range map[string]struct {
		code int
		text string
	}{
		"calibrate":                     {exitUsage, "one MODEL"},
		"calibrate MODEL --text TEXT":   {exitUsage, "needs --output"},
		"calibrate MODEL -o OUT -c 513": {exitUsage, "expected 2 to 512"},
		"calibrate --hessian":           {exitUsage, "--hessian is no flag of calibrate"},
		"calibrate MODEL --text TEXT -o OUT --chunks 1 --tokens 1": {exitUsage, "not both"},
		"calibrate MODEL --text TEXT -o OUT --chunks 0":            {exitUsage, "at least 1"},
		"calibrate MODEL --text TEXT -o OUT --fisher-outputs":      {exitUsage, "--fisher-outputs is for --fisher"},
		"calibrate MODEL --text TEXT -o OUT --fisher --max-ram 1MiB": {exitUsage,
			"--max-ram is 1.0 MiB, expected at least"},
		"calibrate MODEL --text TEXT -o OUT --shard 2":               {exitUsage, "such as 1/4, or auto"},
		"calibrate MODEL --text TEXT -o OUT --shard auto":            {exitUsage, "neither SLURM_ARRAY_TASK_ID nor"},
		"calibrate MODEL --text TEXT -o OUT.gguf --shard 1/2":        {exitUsage, "calibration shard"},
		"calibrate MODEL --text TEXT -o OUT --own-text SHORT --self": {exitBadInput, "no file of calibrate own-text"},
		"calibrate own-text MODEL --text TEXT -o DIR/own":            {exitUsage, "with texts alone"},
		"calibrate own-text MODEL":                                   {exitUsage, "needs --output"},
		"calibrate merge SHORT":                                      {exitUsage, "and --output"},
		"calibrate merge SHORT -o OUT":                               {exitBadInput, "no file of calibrate --shard"},
		"calibrate MODEL --text SHORT -o OUT":                        {exitBadInput, "too few for a sequence of 512"},
		"calibrate MODEL --text DIR/none.txt -o OUT":                 {exitBadInput, "none.txt"},
		"calibrate --show SHORT":                                     {exitBadInput, "number of entries"},
		"calibrate --show OTHER --against SHORT":                     {exitUsage, "needs MODEL"},
		"calibrate --show OTHER --against SHORT MODEL":               {exitBadInput, "--against is impossible"},
		"convert MODEL -o OUT --type Q4_K --imatrix OTHER":           {exitBadInput, "another model's"},
		"convert MODEL -o OUT --type Q4_K --imatrix WIDE":            {exitBadInput, "for 1 columns"},
	} {
		stdout, stderr, code := phi3conv(t, strings.Fields(paths.Replace(line))...)
		if code != want.code || !strings.Contains(stderr, want.text) {
			t.Errorf("%s: exit %d, expected %d and %q\n%s%s", line, code, want.code, want.text, stdout, stderr)
		}
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("an output was written")
	}
}
