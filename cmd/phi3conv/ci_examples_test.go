package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/internal/testmodel"
	"go.yaml.in/yaml/v3"
)

// ciMachine runs action/check.sh in a directory, where the test program acts as phi3conv.
type ciMachine struct {
	dir string
	env []string
}

func newCIMachine(t *testing.T) *ciMachine {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the script needs a POSIX shell")
	}
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
		"OUT=out", "VERIFY_ARGS=--ctx-size 256 --chunks 16", "GITHUB_STEP_SUMMARY="+filepath.Join(m.dir, "summary.md"),
		"GITHUB_OUTPUT="+filepath.Join(m.dir, "outputs"), "GITHUB_TOKEN=", "GITLAB_TOKEN=")
	for name, path := range map[string]string{
		"TEXT": evalText, "LIMITS": "../../docs/ci/limits.yml", "BASELINE": "../../testdata/baseline-tiny.json",
		"SCRIPT": "../../action/check.sh",
	} {
		abs, err := filepath.Abs(path)
		if err != nil {
			t.Fatal(err)
		}
		m.env = append(m.env, name+"="+abs)
	}
	return m
}

// check runs the script with more variables.
func (m *ciMachine) check(env ...string) (output string, code int) {
	c := exec.Command("sh", "-c", `exec sh "$SCRIPT"`)
	c.Dir, c.Env = m.dir, append(slices.Clone(m.env), env...)
	out, err := c.CombinedOutput()
	if e, ok := err.(*exec.ExitError); ok {
		return string(out), e.ExitCode()
	}
	if err != nil {
		return err.Error(), -1
	}
	return string(out), 0
}

func (m *ciMachine) read(t *testing.T, name string) string {
	t.Helper()
	return string(testmodel.Read(t, filepath.Join(m.dir, name)))
}

// The script passes on the tiny model and its committed baseline; after one bit of a block's scale has flipped, or two
// rows have changed places, it fails, and the reports say why.
func TestCheckScript(t *testing.T) {
	m := newCIMachine(t)
	if out, code := m.check(); code != exitOK {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	for name, want := range map[string]string{
		"summary.md": "## phi3conv: passed\n", "outputs": "verdict=passed\nquant=out/model.gguf\nreports=out\n",
		"out/lint.sarif": `"version": "2.1.0"`, "out/verify.html": "<html", "out/verify.json": `"schema"`,
	} {
		if got := m.read(t, name); !strings.Contains(got, want) {
			t.Errorf("%s has no %q:\n%.300s", name, want, got)
		}
	}
	path := filepath.Join(m.dir, "out/model.gguf")
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
		if out, code := m.check("QUANT=out/model.gguf"); code != exitFailed {
			t.Errorf("exit code %d after damage of %s\n%s", code, what, out)
		}
		if !strings.Contains(m.read(t, "out/verify.xml"), "<failure") {
			t.Errorf("%s: the JUnit report has no failure", what)
		}
		if got := m.read(t, "out/summary.md"); !strings.Contains(got, "## phi3conv: not passed\n") ||
			!strings.Contains(got, "worse") {
			t.Errorf("%s: the summary does not say what is worse:\n%.500s", what, got)
		}
	}
	if out, code := m.check("MODEL=none"); code != exitBadInput || !strings.Contains(out, "none") ||
		!strings.Contains(m.read(t, "out/summary.md"), "failed with exit code 3") {
		t.Errorf("a model that is not there: exit code %d\n%s", code, out)
	}
}

// forge acts as GitHub and GitLab, as far as comments go, and keeps what it was asked.
type forge struct {
	asked    []string
	comments []map[string]any
	status   int // of answers to writes, if not 0
}

func (f *forge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.asked = append(f.asked, r.Method+" "+r.URL.Path)
	if r.Header.Get("Authorization") != "Bearer secret" && r.Header.Get("PRIVATE-TOKEN") != "secret" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if r.Method == http.MethodGet {
		page := f.comments
		if r.URL.Query().Get("page") != "1" {
			page = page[min(100, len(page)):]
		}
		_ = json.NewEncoder(w).Encode(page[:min(100, len(page))])
		return
	}
	if f.status != 0 {
		w.WriteHeader(f.status)
		return
	}
	body, _ := io.ReadAll(r.Body)
	var c map[string]any
	if json.Unmarshal(body, &c) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if r.Method == http.MethodPost {
		c["id"] = len(f.comments) + 1
		f.comments = append(f.comments, c)
		return
	}
	for _, old := range f.comments {
		if strings.HasSuffix(r.URL.Path, fmt.Sprintf("/%v", old["id"])) {
			old["body"] = c["body"]
		}
	}
}

// The comment is written once and replaced later, among more than a page of others. Nobody asks for one of a pull
// request from a fork, and a server that refuses does not make the job fail.
func TestCheckComments(t *testing.T) {
	m := newCIMachine(t)
	f := &forge{}
	for i := range 120 {
		f.comments = append(f.comments, map[string]any{"id": i + 1, "body": "text of \"others\"\n<!-- phi3conv: a -->"})
	}
	server := httptest.NewServer(f)
	defer server.Close()
	event := func(head string) string {
		path := filepath.Join(m.dir, "event.json")
		testmodel.Write(t, path, fmt.Appendf(nil, `{"repository": {"full_name": "a/b"},
			"pull_request": {"number": 7, "head": {"repo": {"full_name": %q}}}}`, head))
		return path
	}
	github := []string{"TITLE=a", "GITHUB_TOKEN=secret", "GITHUB_API_URL=" + server.URL, "GITHUB_REPOSITORY=a/b",
		"GITHUB_EVENT_PATH=" + event("a/b"), "QUANT=none"}
	run := func(what string, asked []string, env ...string) {
		t.Helper()
		f.asked = nil
		out, code := m.check(env...)
		if code != exitBadInput || !slices.Equal(f.asked, asked) {
			t.Errorf("%s: exit code %d, asked for %q, expected %q\n%s", what, code, f.asked, asked, out)
		}
	}
	list := "GET /repos/a/b/issues/7/comments"
	run("first", []string{list, list, "POST /repos/a/b/issues/7/comments"}, github...)
	run("second", []string{list, list, "PATCH /repos/a/b/issues/comments/121"}, github...)
	last := f.comments[len(f.comments)-1]["body"].(string)
	if !strings.HasPrefix(last, "<!-- phi3conv: a -->\n## a: failed with exit code 3\n") {
		t.Errorf("comment %q", last)
	}
	f.status = http.StatusForbidden
	run("refused", []string{list, list, "PATCH /repos/a/b/issues/comments/121"}, github...)
	f.status = 0
	run("switched off", nil, append(github, "COMMENT=false")...)
	event("fork/b")
	run("fork", nil, github...)
	notes := "/projects/5/merge_requests/3/notes"
	f.comments = []map[string]any{}
	gitlab := []string{"QUANT=none", "GITLAB_TOKEN=secret", "CI_API_V4_URL=" + server.URL, "CI_PROJECT_ID=5",
		"CI_MERGE_REQUEST_IID=3"}
	run("GitLab", []string{"GET " + notes, "POST " + notes}, gitlab...)
	run("GitLab again", []string{"GET " + notes, "PUT " + notes + "/1"}, gitlab...)
	server.Close()
	run("no server", nil, gitlab...)
}

// yamlFile reads the documents of a file, the last one into into.
func yamlFile(t *testing.T, path string, into any) {
	t.Helper()
	d := yaml.NewDecoder(bytes.NewReader(testmodel.Read(t, path)))
	for n := 0; ; n++ {
		if err := d.Decode(into); err == io.EOF && n > 0 {
			return
		} else if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
}

// action is action.yml, component templates/check.yml.
type (
	action struct {
		Inputs map[string]struct{}
		Runs   struct {
			Steps []struct{ Env map[string]string }
		}
	}
	component struct {
		Spec struct {
			Inputs map[string]struct{}
		}
		Job struct{ Variables map[string]string } `yaml:"$[[ inputs.job ]]"`
	}
)

func ciFiles(t *testing.T) (a action, c component) {
	t.Helper()
	yamlFile(t, "../../action.yml", &a)
	yamlFile(t, "../../templates/check.yml", &c)
	return a, c
}

// What the action and the component give the script are variables that it knows, and all inputs are used.
func TestCIFiles(t *testing.T) {
	script := string(testmodel.Read(t, "../../action/check.sh"))
	action, component := ciFiles(t)
	for _, s := range action.Runs.Steps {
		for name := range s.Env {
			if s.Env["MODEL"] != "" && name != "SCRIPT" && !strings.Contains(script, "$"+name) &&
				!strings.Contains(script, "${"+name) {
				t.Errorf("action.yml: the script does not know %s", name)
			}
		}
	}
	for name := range component.Job.Variables {
		if name != "CGO_ENABLED" && !strings.Contains(script, "{"+name) {
			t.Errorf("templates/check.yml: the script does not know %s", name)
		}
	}
	for name := range action.Inputs {
		if !bytes.Contains(testmodel.Read(t, "../../action.yml"), []byte("inputs."+name)) {
			t.Errorf("action.yml does not use the input %s", name)
		}
	}
	for name := range component.Spec.Inputs {
		if !bytes.Contains(testmodel.Read(t, "../../templates/check.yml"), []byte("inputs."+name+" ]]")) {
			t.Errorf("templates/check.yml does not use the input %s", name)
		}
	}
}

// The examples give inputs that there are, both the same.
func TestCIExampleInputs(t *testing.T) {
	action, component := ciFiles(t)
	var workflow struct {
		Jobs map[string]struct {
			Steps []struct {
				Uses string
				With map[string]string
			}
		}
	}
	yamlFile(t, "../../docs/ci/github-actions.yml", &workflow)
	var pipeline struct {
		Include []struct{ Inputs map[string]string }
	}
	yamlFile(t, "../../docs/ci/gitlab-ci.yml", &pipeline)
	given := pipeline.Include[0].Inputs
	for _, s := range workflow.Jobs["verify"].Steps {
		if !strings.HasPrefix(s.Uses, "phi3conv/") {
			continue
		}
		for name := range s.With {
			if _, ok := action.Inputs[name]; !ok {
				t.Errorf("github-actions.yml gives the action %s, which is no input", name)
			}
			if given[name] != s.With[name] {
				t.Errorf("gitlab-ci.yml gives %s %q, github-actions.yml %q", name, given[name], s.With[name])
			}
		}
	}
	for name := range given {
		if _, ok := component.Spec.Inputs[name]; !ok {
			t.Errorf("gitlab-ci.yml gives the component %s, which is no input", name)
		}
	}
}

// The hook for pre-commit checks the model of each file once, and fails if one is wrong.
func TestPreCommitHook(t *testing.T) {
	m := newCIMachine(t)
	var hooks []struct{ Entry, Files string }
	yamlFile(t, "../../.pre-commit-hooks.yaml", &hooks)
	if err := os.CopyFS(filepath.Join(m.dir, "a model"), os.DirFS(testmodel.Phi3(t))); err != nil {
		t.Fatal(err)
	}
	testmodel.Write(t, filepath.Join(m.dir, "wrong.gguf"), []byte("GGUF"))
	hook := func(files string) (string, int) {
		c := exec.Command("sh", "-c", hooks[0].Entry+" "+files)
		c.Dir, c.Env = m.dir, m.env
		out, err := c.CombinedOutput()
		if _, ok := err.(*exec.ExitError); err != nil && !ok {
			t.Fatal(err)
		}
		return string(out), c.ProcessState.ExitCode()
	}
	good := "'a model/config.json' 'a model/tokenizer.json'"
	if out, code := hook(good); code != exitOK || strings.Count(out, "checks, tensor data not read") != 1 {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if out, code := hook("wrong.gguf " + good); code != exitFailed || strings.Count(out, "not read") != 2 {
		t.Errorf("exit code %d with a file that is wrong\n%s", code, out)
	}
	files := regexp.MustCompile(hooks[0].Files)
	for name, want := range map[string]bool{"config.json": true, "m/tokenizer.json": true, "m/x.gguf": true,
		"tsconfig.json": false, "m/x.ggufs": false, "README.md": false} {
		if files.MatchString(name) != want {
			t.Errorf("files: %s %v, expected %v", name, !want, want)
		}
	}
}
