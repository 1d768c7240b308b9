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
	"github.com/phi3conv/phi3conv/internal/testmodel"
	"go.yaml.in/yaml/v3"
)

// readYAML reads one of the examples for continuous integration.
func readYAML(t *testing.T, name string, into any) {
	t.Helper()
	if err := yaml.Unmarshal(testmodel.Read(t, filepath.Join("../../docs/ci", name)), into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// githubCommands returns what the example for GitHub runs, but for the installation.
func githubCommands(t *testing.T) (commands []string) {
	var example struct {
		Jobs map[string]struct{ Steps []struct{ Name, Run string } }
	}
	readYAML(t, "github-actions.yml", &example)
	for _, s := range example.Jobs["verify"].Steps {
		if s.Run != "" && s.Name != "Install" {
			commands = append(commands, s.Run)
		}
	}
	return commands
}

// gitlabCommands returns what the example for GitLab runs.
func gitlabCommands(t *testing.T) []string {
	var example map[string]struct{ Script []string }
	readYAML(t, "gitlab-ci.yml", &example)
	return example["verify"].Script
}

// ciMachine runs commands of an example in a directory, where the test program acts as phi3conv.
type ciMachine struct {
	dir string
	env []string
}

func newCIMachine(t *testing.T) *ciMachine {
	t.Helper()
	m := &ciMachine{dir: t.TempDir()}
	bin := filepath.Join(m.dir, "bin")
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
	m.env = append(os.Environ(), asProgram+"=1", "PATH="+bin+":"+os.Getenv("PATH"), "MODEL="+testmodel.Phi3(t),
		"GITHUB_STEP_SUMMARY="+filepath.Join(m.dir, "summary.md"))
	for name, path := range map[string]string{
		"TEXT": evalText, "LIMITS": "../../docs/ci/limits.yml", "BASELINE": "../../testdata/baseline-tiny.json",
	} {
		abs, err := filepath.Abs(path)
		if err != nil {
			t.Fatal(err)
		}
		m.env = append(m.env, name+"="+abs)
	}
	return m
}

func (m *ciMachine) run(command string) (output string, code int) {
	c := exec.Command("sh", "-e", "-c", command)
	c.Dir, c.Env = m.dir, m.env
	out, err := c.CombinedOutput()
	if e, ok := err.(*exec.ExitError); ok {
		return string(out), e.ExitCode()
	}
	if err != nil {
		return err.Error(), -1
	}
	return string(out), 0
}

// The commands of the examples pass on the tiny model and its committed baseline; after one bit of a
// block's scale has flipped, or two rows have changed places, they fail, and the reports say why.
func TestCIExamples(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the examples run in a POSIX shell")
	}
	commands := githubCommands(t)
	m := newCIMachine(t)
	if len(commands) < 2 {
		t.Fatalf("commands %q", commands)
	}
	for _, command := range commands {
		if out, code := m.run(command); code != exitOK {
			t.Fatalf("%s\nexit code %d\n%s", command, code, out)
		}
	}
	path := filepath.Join(m.dir, "model.gguf")
	whole := testmodel.Read(t, path)
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	tensor := *f.Tensor("blk.1.attn_output.weight")
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	at, row := int(tensor.Offset), int(tensor.Type.Size(tensor.Cols()))
	for what, damage := range map[string]func(b []byte){
		"a bit of a scale's exponent": func(b []byte) { b[1] ^= 0x40 }, // Q4_K begins with a float16 scale
		"two rows": func(b []byte) {
			first := bytes.Clone(b[:row])
			copy(b, b[row:2*row])
			copy(b[row:], first)
		},
	} {
		data := bytes.Clone(whole)
		damage(data[at:])
		testmodel.Write(t, path, data)
		if out, code := m.run(commands[1]); code != exitFailed {
			t.Errorf("exit code %d after damage of %s\n%s", code, what, out)
		}
		if !bytes.Contains(testmodel.Read(t, filepath.Join(m.dir, "verify.xml")), []byte("<failure")) {
			t.Errorf("%s: the JUnit report has no failure", what)
		}
		if !strings.Contains(string(testmodel.Read(t, filepath.Join(m.dir, "verify.md"))), "worse") {
			t.Errorf("%s: the Markdown does not say what is worse", what)
		}
	}
}

// The example for GitLab runs the same commands as that for GitHub, laid out for YAML's other kind of block.
func TestGitLabExample(t *testing.T) {
	words := func(command string) string {
		return strings.Join(strings.Fields(strings.ReplaceAll(command, "\\\n", " ")), " ")
	}
	github, gitlab := githubCommands(t), gitlabCommands(t)
	if len(gitlab) != 2 {
		t.Fatalf("commands %q", gitlab)
	}
	for i, command := range gitlab {
		if words(command) != words(github[i]) || strings.Contains(command, "\n") {
			t.Errorf("%q, expected on one line %q", command, github[i])
		}
	}
}
