package output

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/atomicfile"
	"github.com/phi3conv/phi3conv/internal/usage"
)

func write(t *testing.T, path, content string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// tree makes what the tests read and write, and returns its directory.
func tree(t *testing.T) string {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "model.gguf"), "GGUF\x03\x00\x00\x00")
	write(t, filepath.Join(dir, "other.gguf"), "GGUF\x03\x00\x00\x00")
	write(t, filepath.Join(dir, "stats.gguf"), "GGUF\x03\x00\x00\x00"+
		"general.type\x08\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00imatrix")
	write(t, filepath.Join(dir, "set-00001-of-00002.gguf"), "GGUF")
	write(t, filepath.Join(dir, "set-00002-of-00002.gguf"), "GGUF")
	write(t, filepath.Join(dir, "checkpoint", "config.json"), "{}")
	write(t, filepath.Join(dir, "checkpoint", "model.safetensors"), "x")
	write(t, filepath.Join(dir, "checkpoint", "old.gguf"), "GGUF\x03\x00\x00\x00")
	write(t, filepath.Join(dir, "weights"), "GGUF\x03\x00\x00\x00")
	write(t, filepath.Join(dir, "report.json"), "{}")
	write(t, filepath.Join(dir, "summary"), "# Summary")
	write(t, filepath.Join(dir, "empty.gguf"), "")
	write(t, filepath.Join(dir, "OUT.work"), "work")
	if err := os.Link(filepath.Join(dir, "model.gguf"), filepath.Join(dir, "hard.gguf")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("model.gguf", filepath.Join(dir, "soft.gguf")); err != nil {
		t.Skip(err)
	}
	if err := os.Symlink("checkpoint", filepath.Join(dir, "linked")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join("checkpoint", "new.gguf"), filepath.Join(dir, "dangling.gguf")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// listing says what is in a directory, with all content.
func listing(t *testing.T, dir string) string {
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, _ := os.ReadFile(path) // a link may lead nowhere
		_, err = fmt.Fprintf(&b, "%s %v %q\n", path, d.Type(), data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// checks are inputs, outputs, and the exit code and words of the refusal. A word of outputs is one: its kind, and the
// path.
var checks = []struct{ inputs, outputs, want string }{
	{"model.gguf", "File:new.gguf", ""},
	{"model.gguf", "File:model.gguf", "2 --file DIR/model.gguf is a file of the input DIR/model.gguf"},
	{"model.gguf", "Report:model.gguf", "2 is a file of the input"},
	{"model.gguf", "File:hard.gguf", "2 is a file of the input"},
	{"model.gguf", "File:soft.gguf", "2 is a file of the input"},
	{"soft.gguf", "File:hard.gguf", "2 is a file of the input"},
	{"set-00001-of-00002.gguf", "File:set-00002-of-00002.gguf", "2 is a file of the input DIR/set-00001"},
	{"set-00001-of-00002.gguf", "Split:set.gguf", "2 is a file of the input DIR/set-00001"},
	{"checkpoint", "Report:checkpoint/config.json", "2 is a file of the input DIR/checkpoint"},
	{"linked", "Report:checkpoint/model.safetensors", "2 is a file of the input DIR/linked"},
	{"checkpoint", "File:checkpoint/new.gguf", ""},
	{"none.gguf oci://host/x", "File:new.gguf", ""},

	{"", "File:other.gguf", "DIR/other.gguf is there and will be replaced"},
	{"", "File:stats.gguf", "2 --file DIR/stats.gguf exists and is no GGUF or .pmap: choose another name"},
	{"", "Force File:other.gguf", "DIR/other.gguf is there and will be replaced"},
	{"checkpoint", "Force File:checkpoint/old.gguf", "will be replaced"},
	{"model.gguf", "Force File:hard.gguf", "2 is a file of the input"},
	{"", "File:empty.gguf", ""},
	{"", "File:dangling.gguf", ""},
	{"", "Split:set.gguf", "set-00001-of-00002.gguf is there and will be replaced"},
	{"", "Split:new.gguf", ""},
	{"", "Report:report.json", "--report: DIR/report.json is there and will be replaced"},
	{"", "Report:weights", "2 exists and is no JSON"},
	{"", "Force Report:weights", "will be replaced"},
	{"", "Report:summary", "will be replaced"},

	{"", "File:x.safetensors", "2 is the extension of safetensors, and this is written as GGUF or .pmap"},
	{"", "File:x.JSON", "2 is the extension of JSON"},
	{"", "Report:x.gguf", "2 is the extension of GGUF"},
	{"", "File:Phi-3.5", ""},
	{"", "Directory:x.tar.gz", "2 is the extension of gzip, and this is written as a directory"},

	{"", "File:new Report:new", "2 --file and --report are one file"},
	{"", "File:new Report:linked/../new", "2 are one file"},
	{"", "File:checkpoint/new Report:linked/new", "2 are one file"},
	{"", "File:OUT Report:OUT.work", "2 are one file"},
	{"", "File:checkpoint/new.gguf File:dangling.gguf", "2 are one file"},
	{"", "File:- Report:-", "2 are one file"},
	{"", "Machine File:-", "2 --file and --json would both be standard output"},
	{"", "Directory:-", "2 several files"},
	{"", "Split:-", "2 several files"},
	{"", "ReadBack:-", "2 read again"},

	{"", "File:none/x", "4 write DIR/none/x: the directory DIR/none: "},
	{"", "File:report.json/x", "4 write DIR/report.json/x: "},
	{"", "File:checkpoint", "2 exists and is not a regular file but a directory"},
	{"", "Directory:none/of/these", ""},
	{"", "Directory:report.json", "2 exists and is not a directory"},
	{"", "Directory:report.json/x", "4 "},
}

// Outputs are accepted or refused before anything changes.
func TestCheck(t *testing.T) {
	dir := tree(t)
	before := listing(t, dir)
	for _, c := range checks {
		f := &Files{}
		for _, path := range strings.Fields(c.inputs) {
			f.Inputs = append(f.Inputs, filepath.Join(dir, path))
		}
		for _, word := range strings.Fields(c.outputs) {
			f.add(dir, word)
		}
		note := ""
		err := f.Check(func(format string, args ...any) { note += fmt.Sprintf(format, args...) })
		got := note
		var mistake *usage.Error
		var unwritten *Error
		switch {
		case errors.As(err, &mistake):
			got = "2 " + err.Error()
		case errors.As(err, &unwritten):
			got = "4 " + err.Error()
		case err != nil:
			t.Errorf("%q, %q: %v is no error of the package", c.inputs, c.outputs, err)
		}
		want := strings.ReplaceAll(c.want, "DIR", dir)
		code, text, _ := strings.Cut(want, " ")
		if len(code) != 1 {
			code, text = "", want
		}
		if (want == "") != (got == "") || !strings.HasPrefix(got, code) || !strings.Contains(got, text) {
			t.Errorf("%q, %q: %q, expected %q", c.inputs, c.outputs, got, want)
		}
		if after := listing(t, dir); after != before {
			t.Fatalf("%q, %q changed\n%s to\n%s", c.inputs, c.outputs, before, after)
		}
	}
}

// add adds what a word of TestCheck says.
func (f *Files) add(dir, word string) {
	kind, path, _ := strings.Cut(word, ":")
	if path != "-" {
		path = dir + string(filepath.Separator) + filepath.FromSlash(path)
	}
	o := Output{Name: "--" + strings.ToLower(kind), Path: &path, Formats: []string{GGUF, PMAP}}
	switch kind {
	case "Force":
		f.Force = true
		return
	case "Machine":
		f.Machine = true
		return
	case "Report":
		o.Formats = []string{JSON}
	case "Directory":
		o.Kind, o.Formats = Directory, []string{"a directory"}
	case "Split":
		o.Split = true
	case "ReadBack":
		o.ReadBack = true
	case "File":
		o.Beside = []string{".work"}
	}
	f.Outputs = append(f.Outputs, o)
}

// A directory that may not be written is found before.
func TestPermission(t *testing.T) {
	if os.Getuid() <= 0 {
		t.Skip("root and Windows may write everywhere")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "x")
	f := Files{Outputs: []Output{{Name: "--output", Path: &path}}}
	var unwritten *Error
	if err := f.Check(nil); !errors.As(err, &unwritten) || !errors.Is(err, os.ErrPermission) {
		t.Errorf("%v", err)
	}
}

// Where an output is standard output, what a command prints for people is not.
func TestStdout(t *testing.T) {
	var out, other bytes.Buffer
	path, stdout := filepath.Join(t.TempDir(), "x"), "-"
	f := Files{Outputs: []Output{{Name: "--a", Path: &path}}}
	if err := f.Check(nil); err != nil || f.Writer(&out, &other) != &out {
		t.Error(err)
	}
	f.Outputs = append(f.Outputs, Output{Name: "--b", Path: &stdout})
	if err := f.Check(nil); err != nil || stdout != atomicfile.Stdout || f.Writer(&out, &other) != &other {
		t.Errorf("%q, %v", stdout, err)
	}
}

func TestRoom(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	if err := Room(path, 1); err != nil {
		t.Error(err)
	}
	var unwritten *Error
	err := Room(path, 1<<60)
	if !errors.As(err, &unwritten) || !strings.Contains(err.Error(), "it takes 1.0 EiB, and ") {
		t.Errorf("%v", err)
	}
	if err := Room(os.DevNull, 1<<60); err != nil && runtime.GOOS != "windows" {
		t.Error(err)
	}
}

// broken cannot be written.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, os.ErrClosed }

// A form that cannot be written is written elsewhere, all others are where they belong, and so is what cannot be
// printed.
func TestWriteForms(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	t.Setenv("TMP", temp)
	dir := t.TempDir()
	say := func(text string) func(io.Writer) error {
		return func(w io.Writer) error {
			_, err := io.WriteString(w, text)
			return err
		}
	}
	lost, good := filepath.Join(dir, "none", "lost.json"), filepath.Join(dir, "good.md")
	var out bytes.Buffer
	err := WriteForms(&out, say("result"), Form{}, Form{lost, say("lost")}, Form{good, say("good")})
	var saved *atomicfile.Elsewhere
	if !errors.As(err, &saved) || saved.Path != lost || out.String() != "result" {
		t.Fatalf("%v, printed %q", err, &out)
	}
	for path, want := range map[string]string{saved.Saved: "lost", good: "good"} {
		if got, err := os.ReadFile(path); string(got) != want || err != nil {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
	err = WriteForms(broken{}, say("result"))
	if !errors.As(err, &saved) || saved.Path != "standard output" || !errors.Is(err, os.ErrClosed) {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(saved.Saved); string(got) != "result" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}
