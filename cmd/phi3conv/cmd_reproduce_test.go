package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/internal/job/quantize"
	"github.com/phi3conv/phi3conv/internal/testmodel"
)

// What reproduce says, as text and as JSON, and its exit codes.
func TestReproduce(t *testing.T) {
	model, dir := testmodel.Phi3(t), t.TempDir()
	stats, out, pmap := tinyStats(t, model), filepath.Join(dir, "out.gguf"), filepath.Join(dir, "out.pmap")
	for _, path := range []string{out, pmap} {
		if _, stderr, code := phi3conv(t, "convert", model, "-o", path, "--stats", stats); code != exitOK {
			t.Fatal(stderr)
		}
	}
	reproduce := func(args ...string) (stdout string, code int) {
		stdout, stderr, code := phi3conv(t, append([]string{"reproduce", "--model", model}, args...)...)
		if stderr != "" {
			t.Error(stderr)
		}
		return stdout, code
	}
	stdout, code := reproduce(out, "--stats", stats)
	want := "model " + model + ": the one it was made from\nstats " + stats + ": the one it was made from\n" +
		out + ": the same bytes\n"
	if code != exitOK || stdout != want {
		t.Errorf("exit %d\n%s", code, stdout)
	}
	if stdout, code = reproduce(pmap, "--stats", stats, "--threads", "1"); code != exitOK ||
		!strings.HasSuffix(stdout, pmap+": the same tensors and metadata\n") {
		t.Errorf("exit %d\n%s", code, stdout)
	}
	// Other statistics.
	other := tinyStats(t, model, "--chunks", "2")
	if stdout, code = reproduce(out, "--stats", other); code != exitFailed ||
		!strings.Contains(stdout, "stats "+other+": another one than it was made from: SHA-256 ") ||
		!strings.Contains(stdout, "key phi3conv.quantize.stats_sha256 differs\n") ||
		!strings.Contains(stdout, out+": the first tensor that differs is blk.0.attn_qkv.weight: byte ") {
		t.Errorf("exit %d\n%s", code, stdout)
	}
	// One bit of a tensor.
	f, err := gguf.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	at := f.Tensor("blk.1.ffn_up.weight").Offset + 200
	_ = f.Close()
	bad := testmodel.Read(t, out)
	bad[at] ^= 1
	testmodel.Write(t, out, bad)
	stdout, code = reproduce(out, "--stats", stats, "--json")
	var c quantize.Comparison
	if err := json.Unmarshal([]byte(stdout), &c); err != nil || code != exitFailed || c.Same || len(c.Inputs) != 2 ||
		c.Tensor != "blk.1.ffn_up.weight" || !strings.HasPrefix(c.Why, "byte 200 ") {
		t.Errorf("exit %d: %v\n%s", code, err, stdout)
	}
}

func TestReproduceMistakes(t *testing.T) {
	model, dir := testmodel.Phi3(t), t.TempDir()
	plain := filepath.Join(dir, "plain.gguf")
	if _, stderr, code := phi3conv(t, "quantize", model, plain, "Q4_K_M"); code != exitOK {
		t.Fatal(stderr)
	}
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{plain, exitUsage, "reproduce takes one FILE and --model"},
		{"--model " + model, exitUsage, "reproduce takes one FILE and --model"},
		{plain + " --model " + model, exitBadInput, "does not say how it was made"},
		{plain + " --threads 0 --model " + model, exitUsage, "--threads is 0"},
		{plain + ".none --model " + model, exitBadInput, "plain.gguf.none"},
	} {
		_, stderr, code := phi3conv(t, append([]string{"reproduce"}, strings.Fields(c.args)...)...)
		if code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit %d: %s", c.args, code, stderr)
		}
	}
}
