package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/calib"
	"github.com/phi3conv/phi3conv/formats/gguf"
)

// tinyStats calibrates the tiny model and returns the statistics' path.
func tinyStats(t *testing.T, model string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stats.gguf")
	if _, stderr, code := phi3conv(t, "calibrate", model, "--text", "../../testdata/tiny-phi3-calib.txt", "--chunks", "6", "--ctx-size", "128", "--fisher", "-o", path); code != exitOK {
		t.Fatal(stderr)
	}
	return path
}

// Every method makes a file that loads, the same with any number of threads, that says how it was
// made; those that run the model are closer to the original on other text than those that do not.
func TestMethods(t *testing.T) {
	model, dir := tinyModel(t), t.TempDir()
	stats := tinyStats(t, model)
	simple := 1e9
	for _, m := range calib.Methods() {
		args := []string{"quantize", "--pure", "--method", m.Name}
		if m.Needs > calib.Nothing {
			args = append(args, "--stats", stats)
		}
		out, again := filepath.Join(dir, m.Name+".gguf"), filepath.Join(dir, "again.gguf")
		for threads, path := range map[string]string{"1": out, "3": again} {
			if _, stderr, code := phi3conv(t, append(args, model, path, "Q3_K_S", threads)...); code != exitOK || stderr != "" {
				t.Fatalf("%s: exit %d: %s", m.Name, code, stderr)
			}
		}
		if !bytes.Equal(read(t, out), read(t, again)) {
			t.Errorf("%s: another file with 3 threads", m.Name)
		}
		f, err := gguf.Open(out)
		if err != nil {
			t.Fatal(err)
		}
		if name, _ := f.Metadata.Str("phi3conv.quantize.method"); name != m.Name && m.Needs > calib.Nothing {
			t.Errorf("%s: the file says %q", m.Name, name)
		}
		_ = f.Close()
		r, _ := verifyJSON(t, out, "--base", model, "-c", "256", "--chunks", "8")
		kld := r.Summary.KLD.Value
		limit := 0.9 * simple
		if m.Name == "awq" {
			limit = simple
		}
		if m.RunsModel() && kld > limit {
			t.Errorf("%s: mean KLD %g, and %g without", m.Name, kld, simple)
		}
		simple = min(simple, kld)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.work")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestMethodFlags(t *testing.T) {
	model, dir := tinyModel(t), t.TempDir()
	stats := tinyStats(t, model)
	out := filepath.Join(dir, "out.gguf")
	other := filepath.Join(dir, "other.gguf")
	if err := os.WriteFile(other, []byte("nothing"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"--method best", exitUsage, "rtn imatrix awq gptq"},
		{"--method gptq", exitUsage, "needs --stats"},
		{"--method rtn --stats " + stats, exitUsage, "uses no --stats"},
		{"--method gptq --damp 0.1,x --stats " + stats, exitUsage, "--damp"},
		{"--method gptq --shrink 1 --stats " + stats, exitUsage, "--shrink"},
		{"--method gptq --asymmetric 2 --stats " + stats, exitUsage, "--asymmetric"},
		{"--method imatrix --awq --stats " + stats, exitUsage, "--method awq"},
		{"--method gptq --refine -1 --stats " + stats, exitUsage, "--refine"},
		{"--stats " + other, exitBadInput, "other.gguf"},
		{"--stats " + filepath.Join(dir, "none"), exitBadInput, "none"},
	} {
		args := append(append([]string{"quantize"}, strings.Fields(c.args)...), model, out, "Q4_K_M")
		if _, stderr, code := phi3conv(t, args...); code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit %d: %s", c.args, code, stderr)
		}
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a file was written")
	}
}
