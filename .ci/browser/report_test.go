package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// reports has what makes pages of verify --html, from the tiny trained model.
type reports struct {
	*testing.T
	program, dir string
}

// run runs phi3conv. A verification may fail: that is a page too.
func (r reports) run(args ...string) {
	r.Helper()
	cmd := exec.Command(r.program, args...)
	cmd.Dir = r.dir
	if out, err := cmd.CombinedOutput(); err != nil && (args[0] != "verify" || cmd.ProcessState.ExitCode() != 1) {
		r.Fatalf("phi3conv %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// model quantizes the tiny model to a type, under a name.
func (r reports) model(name, typ string, more ...string) string {
	r.run(append([]string{"convert", "tiny-phi3", "--type", typ, "-o", name}, more...)...)
	return name
}

func newReports(t *testing.T) reports {
	t.Helper()
	r := reports{t, filepath.Join(t.TempDir(), "phi3conv"), t.TempDir()}
	build := exec.Command("go", "build", "-o", r.program, "./cmd/phi3conv")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	testdata, err := filepath.Abs(filepath.Join("..", "..", "testdata"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"tiny-phi3", "tiny-phi3-eval.txt", "tiny-phi3-calib.txt"} {
		if err := os.Symlink(filepath.Join(testdata, name), filepath.Join(r.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// damage turns bytes of a file's weights over.
func (r reports) damage(name string) {
	r.Helper()
	path := filepath.Join(r.dir, name)
	b, err := os.ReadFile(path)
	if err != nil {
		r.Fatal(err)
	}
	for i := len(b) - 2000; i < len(b)-1000; i++ {
		b[i] ^= 0x40
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		r.Fatal(err)
	}
}

// Nothing of a report is cut off, laid on something else or without a name, and it needs nothing but itself: with one
// model, three and eight, short and long names, limits that are kept and missed, all options and none.
func TestReports(t *testing.T) {
	r := newReports(t)
	r.model("good.gguf", "Q4_K_M")
	r.model("low.gguf", "Q2_K")
	damaged := r.model("damaged-"+strings.Repeat("name-", 30)+".gguf", "Q8_0")
	r.damage(damaged)
	var eight []string
	for i, typ := range []string{"Q2_K", "Q3_K_M", "Q4_0", "Q4_K_M", "IQ4_XS", "Q5_K_M", "Q6_K", "Q8_0"} {
		eight = append(eight, r.model(fmt.Sprintf("a-tiny-model-whose-name-says-everything-that-was-done-to-it-%s-%d-"+
			"模型-<b>&amp;.gguf", strings.Repeat("x", 40*(i%2)), i), typ))
	}
	const text = " --text tiny-phi3-eval.txt -c 128 --chunks 2 "
	const original = " --base tiny-phi3" + text
	const two = original + "--text tiny-phi3-calib.txt "
	r.run(strings.Fields("seal tiny-phi3 -o tiny.seal" + text)...)
	r.run(strings.Fields("calibrate tiny-phi3 -o stats.gguf" + text)...)
	r.model("seen.gguf", "Q4_K_M", "--stats", "stats.gguf")
	for _, page := range []struct {
		name, line string
		widths     []int
	}{
		{"one", "good.gguf --by-layer --max-kld 0.5 --min-top1 0.5 --max-size 1KiB --report one.json" +
			two, nil},
		{"baseline", "low.gguf --by-tensor --baseline one.json" + two, nil},
		{"three", "good.gguf low.gguf --speed -r 1 --max-kld 0.01 " + damaged + original, nil},
		{"eight", strings.Join(eight, " ") + " --max-size 100KiB --worst 3" + original, []int{375, 1000}},
		{"seal", "good.gguf --seal tiny.seal --max-kld 0.1", nil},
		{"seen", "seen.gguf --strict --stride 100" + original, nil},
	} {
		t.Run(page.name, func(t *testing.T) {
			file := page.name + ".html"
			reports{t, r.program, r.dir}.run(strings.Fields("verify --html " + file + " " + page.line)...)
			found, err := check(browser, filepath.Join(r.dir, file), options{narrow: true, widths: page.widths})
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range found {
				t.Error(f)
			}
		})
	}
}
