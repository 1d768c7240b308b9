package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/job/quantize"
	"github.com/phi3conv/phi3conv/internal/testmodel"
)

func TestConvert(t *testing.T) {
	model := testmodel.Phi3(t)
	dir := t.TempDir()
	out := filepath.Join(dir, "out.gguf")
	stdout, stderr, code := phi3conv(t, "convert", model, "-o", out, "--type", "q4_k_m")
	if code != exitOK || stderr != "" || !strings.Contains(stdout, "Q4_K_M: 27 tensors") {
		t.Fatalf("exit %d\n%s%s", code, stdout, stderr)
	}
	// llama-quantize's argument order, and a GGUF as source.
	bf16, again := filepath.Join(dir, "bf16.gguf"), filepath.Join(dir, "again.gguf")
	if _, stderr, code := phi3conv(t, "convert", "--outtype=bf16", "--output", bf16, model); code != exitOK {
		t.Fatal(stderr)
	}
	if _, stderr, code := phi3conv(t, "quantize", bf16, again, "Q4_K_M", "1"); code != exitOK {
		t.Fatal(stderr)
	}
	if !bytes.Equal(testmodel.Read(t, out), testmodel.Read(t, again)) {
		t.Error("through a BF16 file the result is another")
	}
	// The default name, in the current directory.
	t.Chdir(dir)
	if _, stderr, code := phi3conv(t, "convert", model); code != exitOK {
		t.Fatal(stderr)
	}
	if !bytes.Equal(testmodel.Read(t, out), testmodel.Read(t, "tiny-phi3-Q4_K_M.gguf")) {
		t.Error("the default type or name is another")
	}
}

// llama.cpp goes by the model's name, so a name that misleads it is pointed out.
func TestNameNote(t *testing.T) {
	out := filepath.Join(t.TempDir(), "x.gguf")
	_, stderr, code := phi3conv(t, "convert", testmodel.Phi3(t), "-o", out, "--model-name", "Phi 3 Tiny")
	if code != exitOK || !strings.HasPrefix(stderr, "phi3conv: note: ") ||
		!strings.Contains(stderr, `it is "Phi 3 Tiny"`) {
		t.Errorf("exit %d: %s", code, stderr)
	}
	_, stderr, code = phi3conv(t, "convert", testmodel.Phi3(t), "-o", out, "--force", "--model-name", "Phi-3 Tiny")
	want := "phi3conv: note: --output: " + out + " is there and will be replaced\n"
	if code != exitOK || stderr != want {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

func TestDryRun(t *testing.T) {
	model := testmodel.Phi3(t)
	out := filepath.Join(t.TempDir(), "out.gguf")
	stdout, stderr, code := phi3conv(t, "convert", model, "-o", out, "--dry-run", "--json", "--split-max-size", "1MB")
	if code != exitOK {
		t.Fatal(stderr)
	}
	var plan quantize.Result
	if err := json.Unmarshal([]byte(stdout), &plan); err != nil {
		t.Fatal(err)
	}
	if len(plan.Tensors) != 27 || len(plan.Files) < 2 || plan.FileType != "Q4_K_M" {
		t.Errorf("%+v", plan)
	}
	if _, err := os.Stat(plan.Files[0].Path); err == nil {
		t.Error("a dry run wrote a file")
	}
	if _, stderr, code := phi3conv(t, "convert", model, "-o", out, "--split-max-size", "1MB"); code != exitOK {
		t.Fatal(stderr)
	}
	for _, f := range plan.Files {
		if info, err := os.Stat(f.Path); err != nil || info.Size() != f.Bytes {
			t.Errorf("%s: %v, planned %d bytes", f.Path, err, f.Bytes)
		}
	}
	stdout, _, _ = phi3conv(t, "convert", model, "-o", out, "--dry-run")
	for _, want := range []string{"blk.0.attn_qkv.weight", "bits per weight", out} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is missing in\n%s", want, stdout)
		}
	}
}

// Every mistake has its exit code and a message that names it, and leaves no output.
func TestConvertMistakes(t *testing.T) {
	model, dir := testmodel.Phi3(t), t.TempDir()
	out := filepath.Join(dir, "out.gguf")
	q8 := filepath.Join(t.TempDir(), "q8.gguf")
	if _, stderr, code := phi3conv(t, "convert", model, "-o", q8, "--type", "Q8_0"); code != exitOK {
		t.Fatal(stderr)
	}
	for args, want := range map[string]struct {
		code int
		text string
	}{
		"MODEL --type Q9":                    {exitUsage, `unknown file type "Q9"`},
		"MODEL --typ Q4_0":                   {exitUsage, "--typ is no flag of convert"},
		"MODEL other":                        {exitUsage, "convert takes one MODEL, got 2 arguments"},
		"MODEL --threads 0":                  {exitUsage, "--threads is 0"},
		"MODEL --max-ram 1MB":                {exitUsage, "expected at least 320 MiB"},
		"MODEL --tensor-type ffn=Q9":         {exitUsage, `"Q9"`},
		"MODEL -o /nonexistent/x.gguf":       {exitBadInput, "/nonexistent"},
		"MODEL --type Q8_0 --bpw 4":          {exitUsage, "--bpw and --type exclude each other"},
		"MODEL --seal x.seal":                {exitUsage, "--seal goes into a .pmap file"},
		"GGUF --type Q4_0":                   {exitBadInput, "--allow-requantize"},
		"GGUF --type COPY -o ":               {exitUsage, "-o needs a value"},
		"GGUF --type COPY --pure":            {exitUsage, "--pure does nothing to a copy; --type says"},
		"GGUF --type COPY --threads 0":       {exitUsage, "--threads is 0, expected 1 to 1024"},
		"GGUF --type COPY --seal x.seal":     {exitUsage, "--seal goes into a .pmap file"},
		"GGUF --type COPY -o " + q8:          {exitUsage, "is a file of the input"},
		"MODEL --type COPY":                  {exitBadInput, "tiny-phi3"},
		"GGUF -o DIR/x.pmap --seal no":       {exitBadInput, "no"},
		"GGUF.none":                          {exitBadInput, "q8.gguf.none"},
		"MODEL -o MODEL/config.json":         {exitUsage, "is a file of the input"},
		"GGUF --type Q8_0 -o GGUF":           {exitUsage, "is a file of the input"},
		"MODEL -o DIR":                       {exitUsage, "exists and is not a regular file"},
		"MODEL --recipe " + q8 + " -o DIR/x": {exitBadInput, "q8.gguf"},
	} {
		words := []string{"convert", "-o", out}
		for _, w := range strings.Split(args, " ") {
			words = append(words, strings.NewReplacer("MODEL", model, "GGUF", q8, "DIR", dir).Replace(w))
		}
		_, stderr, code := phi3conv(t, words...)
		if code != want.code || !strings.Contains(stderr, want.text) {
			t.Errorf("%s: exit %d, expected %d with %q\n%s", args, code, want.code, want.text, stderr)
		}
	}
	if _, stderr, code := phi3conv(t, "convert", q8, "--type", "COPY"); code != exitUsage ||
		!strings.Contains(stderr, "COPY needs --output") {
		t.Errorf("COPY without an output: exit %d\n%s", code, stderr)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// A file goes to the other format, by its name or as COPY, and back.
func TestConvertCopies(t *testing.T) {
	model, dir := testmodel.Phi3(t), t.TempDir()
	in, pmap, back := filepath.Join(dir, "in.gguf"), filepath.Join(dir, "m.pmap"), filepath.Join(dir, "back.gguf")
	if _, stderr, code := phi3conv(t, "convert", model, "-o", in); code != exitOK {
		t.Fatal(stderr)
	}
	for _, args := range [][]string{{in, "-o", pmap}, {pmap, "-o", back, "--type", "copy"}} {
		stdout, stderr, code := phi3conv(t, append([]string{"convert"}, args...)...)
		if code != exitOK || stderr != "" || !strings.HasPrefix(stdout, args[2]+": 27 tensors copied, ") {
			t.Errorf("exit %d\n%s%s", code, stdout, stderr)
		}
	}
	if !bytes.Equal(testmodel.Read(t, in), testmodel.Read(t, back)) {
		t.Error("another file")
	}
}

func TestOverwritingParts(t *testing.T) {
	out := filepath.Join(t.TempDir(), "m.gguf")
	_, stderr, code := phi3conv(t, "convert", testmodel.Phi3(t), "-o", out, "--type", "F16", "--split-max-size", "2MB")
	if code != exitOK {
		t.Fatal(stderr)
	}
	parts, _ := filepath.Glob(strings.TrimSuffix(out, ".gguf") + "-*")
	if len(parts) != 3 {
		t.Fatalf("parts %v", parts)
	}
	_, stderr, code = phi3conv(t, "convert", parts[0], "-o", out, "--type", "Q8_0", "--split-max-size", "1MB")
	if code != exitUsage {
		t.Errorf("a part of the source: exit %d, %s", code, stderr)
	}
}

func TestTensorType(t *testing.T) {
	model := testmodel.Phi3(t)
	stdout, stderr, code := phi3conv(t, "convert", model, "--dry-run",
		"--tensor-type", `blk\.[0-9]{1,2}\.ffn_up=Q8_0`, "--tensor-type", "nothing=Q8_0")
	if code != exitOK || strings.Count(stdout, "Q8_0") != 4 ||
		!strings.Contains(stderr, `"nothing" matches no tensor`) {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
}
