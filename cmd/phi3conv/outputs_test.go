package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/cmdline"
	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/urfave/cli/v2"
)

// snapshot has the SHA-256 of each file below dir, and where each link leads.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if d.Type()&fs.ModeSymlink != 0 {
			files[path], err = os.Readlink(path)
			return err
		}
		sum := sha256.Sum256(testmodel.Read(t, path))
		files[path] = hex.EncodeToString(sum[:])
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// outputsDir makes a directory with models, texts and what else commands read, and links to them.
func outputsDir(t *testing.T) string {
	t.Helper()
	text, err1 := filepath.Abs(evalText)
	task, err2 := filepath.Abs(choiceTask)
	dir := t.TempDir()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(dir, "DIR"), os.DirFS(testmodel.Phi3(t))); err != nil {
		t.Fatal(err)
	}
	for name, from := range map[string]string{"text": text, "task": task} {
		testmodel.Write(t, filepath.Join(dir, name), testmodel.Read(t, from))
	}
	testmodel.Write(t, filepath.Join(dir, "other"), []byte("GGUF\x03\x00\x00\x00"))
	testmodel.Write(t, filepath.Join(dir, "part.json"), []byte("{}"))
	t.Chdir(dir)
	for _, line := range []string{
		"convert DIR -o model.gguf --type Q8_0",
		"calibrate DIR --text text --chunks 1 -c 64 -o stats.gguf",
		"seal DIR --text text -c 64 --chunks 1 -o seal",
		"pack DIR -o packed.tar",
	} {
		if _, stderr, code := phi3conv(t, strings.Fields(line)...); code != exitOK {
			t.Fatalf("%s: %s", line, stderr)
		}
	}
	if err := errors.Join(os.Link("model.gguf", "hard"), os.Symlink("model.gguf", "soft")); err != nil {
		t.Skip(err)
	}
	return dir
}

// A command that writes files has them checked: it has --force, which that is about.
func TestOutputsHaveForce(t *testing.T) {
	var check func(list []*cli.Command)
	check = func(list []*cli.Command) {
		for _, c := range list {
			for _, f := range c.Flags {
				usage := f.(cli.DocGenerationFlag).GetUsage()
				if strings.Contains(usage, "write") && strings.Contains(usage, "`FILE") && !cmdline.Takes(c, "force") {
					t.Errorf("%s has --%s and no --force", c.Name, f.Names()[0])
				}
			}
			check(c.Subcommands)
		}
	}
	check(commands())
}

// A directory that is not there is found before anything is computed, for every output.
func TestOutputsWithoutDirectory(t *testing.T) {
	dir := outputsDir(t)
	before := snapshot(t, dir)
	verify := "verify model.gguf --base DIR --text text "
	for _, line := range []string{
		verify + "--html none/x", verify + "--report none/x", verify + "--junit none/x", verify + "--markdown none/x",
		"verify model.gguf --seal seal --html none/x", "verify merge part.json --report none/x",
		"lint DIR --junit none/x", "lint DIR --markdown none/x", "lint DIR --sarif none/x",
		"eval DIR --task task --markdown none/x",
		"convert DIR -o none/x", "convert DIR -o none/x --split-max-size 500KB",
		"quantize DIR none/x Q4_0", "quantize DIR x Q4_0 --write-recipe none/x", "convert model.gguf -o none/x.pmap",
		"reproduce model.gguf --model DIR -o none/x", "calibrate DIR -o none/x", "seal DIR --text text -o none/x",
		"logits DIR --tokens 1 -o none/x", "pack DIR -o none/x.tar", "pull oci://127.0.0.1:1/x:y -o none/x.tar",
	} {
		_, stderr, code := phi3conv(t, strings.Fields(line)...)
		if code != exitBadInput || !strings.Contains(stderr, "the directory none: ") {
			t.Errorf("%s: exit %d, expected %d: %s", line, code, exitBadInput, stderr)
		}
	}
	if after := snapshot(t, dir); !maps.Equal(before, after) {
		t.Errorf("%v, it was %v", after, before)
	}
}

// No command writes over what it reads, over another output, or over what is there, and it says so before it computes.
func TestOutputsAreRefused(t *testing.T) {
	dir := outputsDir(t)
	before := snapshot(t, dir)
	verify := "verify model.gguf --base DIR --text text -c 64 --chunks 1 "
	merge := "verify merge part.json "
	lint := "lint model.gguf "
	eval := "eval model.gguf --task task --shots 0 --limit 2 "
	for line, want := range map[string]string{
		verify + "--html model.gguf":                     "file of the input",
		verify + "--html hard":                           "file of the input",
		verify + "--html soft":                           "file of the input",
		verify + "--report text":                         "file of the input",
		verify + "--junit DIR/config.json":               "file of the input",
		verify + "--markdown DIR/model.safetensors":      "file of the input",
		verify + "--baseline part.json --html part.json": "file of the input",
		verify + "--html other":                          "exists and is no HTML",
		verify + "--html a --junit a":                    "one file",
		verify + "--html a --report ./a":                 "one file",
		verify + "--report a --html a.partial":           "one file",
		verify + "--json --report -":                     "both be standard output",
		"verify model.gguf --seal seal --html seal":      "file of the input",
		merge + "--report part.json":                     "file of the input",
		lint + "--junit model.gguf":                      "file of the input",
		lint + "--markdown soft":                         "file of the input",
		lint + "--sarif hard":                            "file of the input",
		lint + "--markdown a --junit a":                  "one file",
		eval + "--markdown task":                         "file of the input",
		eval + "--junit hard":                            "file of the input",

		"convert DIR -o DIR/config.json":                                   "file of the input",
		"convert soft -o hard --type Q8_0":                                 "file of the input",
		"convert DIR -o stats.gguf":                                        "exists and is no GGUF",
		"convert DIR -o packed.tar":                                        "extension of tar",
		"convert DIR -o x.safetensors":                                     "extension of safetensors",
		"convert DIR -o -  --json":                                         "both be standard output",
		"convert DIR -o a.pmap --seal seal --write-recipe seal":            "file of the input",
		"quantize DIR a Q4_0 --write-recipe DIR/model.safetensors":         "file of the input",
		"quantize DIR a Q4_0 --write-recipe a":                             "one file",
		"quantize DIR a Q4_0 --write-recipe other --dry-run":               "--force",
		"quantize DIR a Q4_0 --stats stats.gguf --write-recipe stats.gguf": "file of the input",
		"quantize DIR stats.gguf Q4_0 --stats stats.gguf":                  "file of the input",
		"quantize DIR part.json --bpw 4 --stats stats.gguf --shard 1/2":    "extension of JSON",
		"quantize DIR text --bpw 4 --stats text --shard 1/2":               "file of the input",
		"reproduce model.gguf --model DIR -o model.gguf":                   "file of the input",
		"reproduce model.gguf --model DIR -o -":                            "read again",
		"calibrate DIR --text text -o text":                                "file of the input",
		"calibrate model.gguf --text text -o model.gguf":                   "file of the input",
		"calibrate DIR --text text -o soft":                                "--force",
		"seal DIR --text text -o text":                                     "file of the input",
		"seal model.gguf --text text -o model.gguf":                        "file of the input",
		"seal DIR --text text -o soft":                                     "--force",
		"logits model.gguf --tokens 1 -o model.gguf":                       "file of the input",
		"logits DIR --tokens-file part.json -o part.json":                  "file of the input",
		"logits DIR --tokens 1 -o other":                                   "--force",
		"pack model.gguf -o model.gguf":                                    "file of the input",
		"pack model.gguf --seal seal -o seal":                              "file of the input",
		"pack DIR -o x.tar.gz":                                             "extension of gzip",
		"unpack packed.tar -o text":                                        "not a directory",
		"unpack packed.tar -o -":                                           "several files",
		"pull oci://127.0.0.1:1/x:y -o text":                               "not a directory",
	} {
		_, stderr, code := phi3conv(t, strings.Fields(line)...)
		if code != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit %d, expected %d with %q: %s", line, code, exitUsage, want, stderr)
		}
	}
	after := snapshot(t, dir)
	if !maps.Equal(before, after) {
		t.Errorf("%v, it was %v", after, before)
	}
}
