package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/formats/gguf"
	"go.yaml.in/yaml/v3"
)

// examples returns the commands that the examples for continuous integration run, one list for each, but for the installation.
func examples(t *testing.T) map[string][]string {
	t.Helper()
	var github struct {
		Jobs map[string]struct{ Steps []struct{ Name, Run string } }
	}
	var gitlab map[string]struct{ Script []string }
	for file, into := range map[string]any{"github-actions.yml": &github, "gitlab-ci.yml": &gitlab} {
		data, err := os.ReadFile(filepath.Join("../../docs/ci", file))
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(data, into); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	all := map[string][]string{"gitlab": gitlab["verify"].Script}
	for _, s := range github.Jobs["verify"].Steps {
		if s.Run != "" && s.Name != "Install" {
			all["github"] = append(all["github"], s.Run)
		}
	}
	return all
}

// The commands of the examples pass on the tiny model, and its committed baseline; after one bit of a
// block's scale has flipped, or two rows have changed places, they fail, and the reports say why.
func TestCIExamples(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the examples run in a POSIX shell")
	}
	model := tinyModel(t)
	for name, commands := range examples(t) {
		if len(commands) < 2 {
			t.Fatalf("%s: commands %q", name, commands)
		}
		dir := t.TempDir()
		// The test program acts as phi3conv.
		bin := filepath.Join(dir, "bin")
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(bin, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(self, filepath.Join(bin, "phi3conv")); err != nil {
			t.Fatal(err)
		}
		absolute := func(path string) string {
			abs, err := filepath.Abs(path)
			if err != nil {
				t.Fatal(err)
			}
			return abs
		}
		sh := func(command string) (string, error) {
			c := exec.Command("sh", "-e", "-c", command)
			c.Dir = dir
			c.Env = append(os.Environ(), asProgram+"=1", "PATH="+bin+":"+os.Getenv("PATH"), "MODEL="+model, "GITHUB_STEP_SUMMARY="+filepath.Join(dir, "summary.md"),
				"TEXT="+absolute("../../testdata/tiny-phi3-eval.txt"), "LIMITS="+absolute("../../docs/ci/limits.yml"), "BASELINE="+absolute("../../testdata/baseline-tiny.json"))
			out, err := c.CombinedOutput()
			return string(out), err
		}
		for _, command := range commands {
			if out, err := sh(command); err != nil {
				t.Fatalf("%s: %s\n%v\n%s", name, command, err, out)
			}
		}

		path := filepath.Join(dir, "model.gguf")
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range []struct {
			what   string
			damage func(data []byte, at, rowBytes int)
		}{
			{"a bit of a scale's exponent", func(data []byte, at, _ int) { data[at+1] ^= 0x40 }}, // Q4_K begins with a float16 scale
			{"two rows", func(data []byte, at, n int) {
				row := bytes.Clone(data[at : at+n])
				copy(data[at:], data[at+n:at+2*n])
				copy(data[at+n:], row)
			}},
		} {
			f, err := gguf.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			tensor := f.Tensor("blk.1.attn_output.weight")
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			data := bytes.Clone(whole)
			d.damage(data, int(tensor.Offset), int(tensor.Type.Size(tensor.Cols())))
			write(t, path, data)
			out, err := sh(commands[1])
			if code := exitCodeOf(err); code != exitFailed {
				t.Errorf("%s: exit code %d after damage of %s\n%s", name, code, d.what, out)
			}
			junit, err := os.ReadFile(filepath.Join(dir, "verify.xml"))
			if err != nil || !bytes.Contains(junit, []byte("<failure")) {
				t.Errorf("%s, %s: the JUnit report has no failure: %v", name, d.what, err)
			}
			page, err := os.ReadFile(filepath.Join(dir, "verify.md"))
			if err != nil || !strings.Contains(string(page), "worse") {
				t.Errorf("%s, %s: the Markdown does not say what is worse: %v", name, d.what, err)
			}
		}
	}
}

func exitCodeOf(err error) int {
	if e, ok := err.(*exec.ExitError); ok {
		return e.ExitCode()
	}
	return 0
}
