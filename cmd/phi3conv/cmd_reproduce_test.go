package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/calib"
	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/internal/job/quantize"
)

// What every method makes can be made again, from statistics that have another name by then.
func TestReproduce(t *testing.T) {
	model, dir := tinyModel(t), t.TempDir()
	stats := tinyStats(t, model)
	renamed := filepath.Join(dir, "renamed.gguf")
	write(t, renamed, read(t, stats))
	for _, m := range calib.Methods() {
		names := []string{m.Name + ".gguf"}
		if !m.RunsModel() {
			names = append(names, m.Name+".pmap")
		}
		for _, name := range names {
			out := filepath.Join(dir, name)
			make, again := []string{"convert", model, "-o", out, "--type", "Q3_K_M", "--method", m.Name, "--model-name", "Phi-3 of a test", "--refine", "1"}, []string{"reproduce", out, "--model", model, "--threads", "2"}
			if m.Needs > calib.Nothing {
				make, again = append(make, "--stats", stats), append(again, "--stats", renamed)
			}
			if _, stderr, code := phi3conv(t, make...); code != exitOK {
				t.Fatalf("%s: %s", name, stderr)
			}
			if stdout, stderr, code := phi3conv(t, again...); code != exitOK || !strings.Contains(stdout, "the same ") {
				t.Errorf("%s: exit %d: %s%s", name, code, stdout, stderr)
			}
		}
	}
}

// What differs is named: a tensor, a key, an input.
func TestReproduceDifferent(t *testing.T) {
	model, dir := tinyModel(t), t.TempDir()
	stats, out, kept := tinyStats(t, model), filepath.Join(dir, "out.gguf"), filepath.Join(dir, "kept.gguf")
	if _, stderr, code := phi3conv(t, "quantize", model, out, "Q4_K_M", "--stats", stats); code != exitOK {
		t.Fatal(stderr)
	}
	reproduce := func(args ...string) (r quantize.Comparison, code int) {
		stdout, stderr, code := phi3conv(t, append([]string{"reproduce", out, "--json"}, args...)...)
		if err := json.Unmarshal([]byte(stdout), &r); err != nil {
			t.Fatalf("%s%s", stdout, stderr)
		}
		return r, code
	}
	if r, code := reproduce("--model", model, "--stats", stats, "-o", kept); code != exitOK || !r.Same || len(r.Inputs) != 2 {
		t.Errorf("exit %d: %+v", code, r)
	}
	good := read(t, out)
	if !bytes.Equal(good, read(t, kept)) {
		t.Error("what --output keeps is another file")
	}
	// One bit of a tensor.
	f, err := gguf.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	at := f.Tensor("blk.1.ffn_up.weight").Offset + 200
	_ = f.Close()
	bad := bytes.Clone(good)
	bad[at] ^= 1
	write(t, out, bad)
	if r, code := reproduce("--model", model, "--stats", stats); code != exitFailed || r.Tensor != "blk.1.ffn_up.weight" || !strings.HasPrefix(r.Why, "byte 200 ") || len(r.Keys) != 0 {
		t.Errorf("exit %d: %+v", code, r)
	}
	// Other statistics.
	write(t, out, good)
	other := filepath.Join(dir, "other.gguf")
	if _, stderr, code := phi3conv(t, "calibrate", model, "--text", "../../testdata/tiny-phi3-calib.txt", "--chunks", "2", "--ctx-size", "64", "-o", other); code != exitOK {
		t.Fatal(stderr)
	}
	r, code := reproduce("--model", model, "--stats", other)
	if code != exitFailed || r.Same || !r.Inputs[0].Same || r.Inputs[1].Same || r.Tensor == "" || len(r.Keys) == 0 {
		t.Errorf("exit %d: %+v", code, r)
	}
	stdout, _, code := phi3conv(t, "reproduce", out, "--model", model, "--stats", other)
	if code != exitFailed || !strings.Contains(stdout, "stats "+other+": another one than it was made from") {
		t.Errorf("exit %d: %s", code, stdout)
	}
	plain := filepath.Join(dir, "plain.gguf")
	if _, stderr, code := phi3conv(t, "quantize", model, plain, "Q4_K_M"); code != exitOK {
		t.Fatal(stderr)
	}
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{out, exitUsage, "--model"},
		{out + " --model " + model, exitUsage, "needs --stats"},
		{plain + " --model " + model, exitBadInput, "does not say how it was made"},
		{out + " --stats " + stats + " --model " + model + " -o " + out, exitUsage, "is a file of the input"},
		{filepath.Join(dir, "none") + " --model " + model, exitBadInput, "none"},
	} {
		if _, stderr, code := phi3conv(t, append([]string{"reproduce"}, strings.Fields(c.args)...)...); code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit %d: %s", c.args, code, stderr)
		}
	}
	if !bytes.Equal(good, read(t, out)) {
		t.Error("the file was written to")
	}
	if left, _ := os.ReadDir(dir); len(left) != 4 {
		t.Errorf("left behind: %v", left)
	}
}
