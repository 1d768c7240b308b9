package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/internal/atomicfile"
	"github.com/phi3conv/phi3conv/internal/bucket"
	"github.com/phi3conv/phi3conv/internal/testbucket"
	"github.com/phi3conv/phi3conv/internal/testmodel"
)

// startBucket starts a bucket that has the tiny model in the directory tiny.
func startBucket(t *testing.T) *testbucket.Service {
	t.Helper()
	s := testbucket.Start(t)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	atomicfile.SetStore(bucket.Scheme, bucket.NewStore(t.Context()))
	t.Cleanup(func() { atomicfile.SetStore(bucket.Scheme, nil) })
	dir := testmodel.Phi3(t)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		s.Put("tiny/"+e.Name(), data)
	}
	s.Put("tiny/pytorch_model.bin", []byte("duplicate"))
	return s
}

// checkConverted compares the tensors of the tiny model that came from a bucket with those from this machine.
func checkConverted(t *testing.T, path string) {
	t.Helper()
	a, b := openGGUF(t, path), openGGUF(t, tinyGGUF(t, "Q4_K_M"))
	for i, tensor := range a.Tensors {
		x, y := make([]byte, tensor.Size()), make([]byte, tensor.Size())
		if _, err := tensor.ReadAt(x, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Tensors[i].ReadAt(y, 0); err != nil || !bytes.Equal(x, y) {
			t.Errorf("%s differs, %v", tensor.Name, err)
		}
	}
	if url, _ := a.Metadata.Str("phi3conv.source.url"); url != "s3://models/tiny" {
		t.Errorf("phi3conv.source.url is %q", url)
	}
	files, _ := a.Metadata.Get("phi3conv.source.files")
	if list, _ := files.([]string); len(list) != 1 || !strings.HasPrefix(list[0], "model.safetensors etag:") {
		t.Errorf("phi3conv.source.files is %v", files)
	}
}

// A checkpoint in a bucket becomes an object in it: the same tensors as on this machine, every byte read once and
// nothing of the weights stored.
func TestConvertBucket(t *testing.T) {
	s := startBucket(t)
	stdout, stderr, code := phi3conv(t, "convert", "s3://models/tiny", "-o", "s3://models/out/tiny.gguf")
	if code != exitOK || !strings.Contains(stdout, "s3://models/out/tiny.gguf") {
		t.Fatalf("exit %d\n%s%s", code, stdout, stderr)
	}
	weights := len(s.Get("tiny/model.safetensors"))
	var all int64
	for _, key := range s.Keys() {
		if strings.HasPrefix(key, "tiny/") && !strings.HasSuffix(key, ".bin") {
			all += int64(len(s.Get(key)))
		}
	}
	if read := s.Sent(); read > all+256<<10 { // and what lies behind the header
		t.Errorf("%d bytes were read of %d", read, all)
	}
	cached, err := filepath.Glob(filepath.Join(os.Getenv("XDG_CACHE_HOME"), "phi3conv/sources/s3/*/tiny/*.safetensors"))
	if err != nil || len(cached) > 0 {
		t.Errorf("%v, %v: %d bytes of weights are stored", cached, err, weights)
	}

	dir := t.TempDir()
	kept := filepath.Join(dir, "kept.gguf")
	if _, stderr, code := phi3conv(t, "convert", "s3://models/tiny", "-o", kept, "--cache"); code != exitOK {
		t.Fatal(stderr)
	}
	got := filepath.Join(dir, "got.gguf")
	if err := os.WriteFile(got, s.Get("out/tiny.gguf"), 0o666); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(kept); err != nil || !bytes.Equal(data, s.Get("out/tiny.gguf")) {
		t.Error("with --cache the file has other bytes", err)
	}
	checkConverted(t, got)

	// From one object to another, with a recipe of its own, and a copy to the other format.
	stats := "s3://models/out/stats.gguf"
	for _, args := range [][]string{
		{"quantize", "s3://models/out/tiny.gguf", "s3://models/out/again.gguf", "Q8_0", "--allow-requantize"},
		{"convert", "s3://models/out/tiny.gguf", "-o", "s3://models/out/tiny.pmap"},
		{"inspect", "s3://models/out/tiny.pmap", "--check"},
		{"lint", "s3://models/tiny", "--markdown", "s3://models/out/lint.md"},
		{"calibrate", "s3://models/tiny", "--text", calibText, "--chunks", "1", "-c", "64", "-o", stats},
		{"quantize", "s3://models/tiny", "s3://models/out/gptq.gguf", "Q4_K_M", "--stats", stats},
	} {
		if _, stderr, code := phi3conv(t, args...); code != exitOK {
			t.Errorf("%s: exit %d\n%s", strings.Join(args, " "), code, stderr)
		}
	}
	if _, open := s.Uploads(); open > 0 {
		t.Errorf("%d uploads are left", open)
	}
	for _, key := range []string{"again.gguf", "tiny.pmap", "lint.md", "stats.gguf", "gptq.gguf"} {
		if len(s.Get("out/"+key)) == 0 {
			t.Errorf("%s is not there", key)
		}
	}
}

func openGGUF(t *testing.T, path string) *gguf.File {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// What cannot be read or written in a bucket is named, with the right exit code, and leaves nothing there.
func TestBucketRefused(t *testing.T) {
	s := startBucket(t)
	s.Put("note.txt", []byte("keep me\n"))
	write := func(r *http.Request) bool { return r.Method == http.MethodPut || r.Method == http.MethodPost }
	for name, c := range map[string]struct {
		in, out string
		fail    func(r *http.Request) string
		code    int
		want    string
	}{
		"no model":      {"s3://models/none", "s3://models/a.gguf", nil, exitBadInput, "no such object"},
		"no bucket":     {"s3://other/tiny", "s3://models/a.gguf", nil, exitBadInput, "no bucket other"},
		"no out bucket": {"s3://models/tiny", "s3://other/a.gguf", nil, exitBadInput, "no bucket other"},
		"text":          {"s3://models/tiny", "s3://models/note.txt", nil, exitUsage, "extension of text"},
		"other kind":    {"s3://models/tiny", "s3://models/tiny/config", nil, exitUsage, "exists and is no GGUF"},
		"no key":        {"s3://models/tiny", "s3://models/", nil, exitIO, "the name of an object"},
		"wrong key": {"s3://models/tiny", "s3://models/a.gguf",
			func(*http.Request) string { return "InvalidAccessKeyId" }, exitIO, "access was denied"},
		"a part": {"s3://models/tiny", "s3://models/a.gguf", func(r *http.Request) string {
			if write(r) && r.URL.Query().Get("partNumber") != "" {
				return "InternalError"
			}
			return ""
		}, exitIO, "InternalError"},
		"the end": {"s3://models/tiny", "s3://models/a.gguf", func(r *http.Request) string {
			if r.Method == http.MethodPost && r.URL.Query().Has("uploadId") {
				return "AccessDenied"
			}
			return ""
		}, exitIO, "AccessDenied"},
		"cut off": {"s3://models/tiny", "s3://models/a.gguf", func(r *http.Request) string {
			if strings.HasSuffix(r.URL.Path, ".safetensors") && strings.HasPrefix(r.Header.Get("Range"), "bytes=4") {
				return "AccessDenied"
			}
			return ""
		}, exitIO, "model.safetensors"},
	} {
		s.Put("tiny/config", []byte("text\n"))
		s.Fail = c.fail
		_, stderr, code := phi3conv(t, "convert", c.in, "-o", c.out)
		if code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit %d, expected %d and %q\n%s", name, code, c.code, c.want, stderr)
		}
		s.Fail = nil
		if _, open := s.Uploads(); open > 0 || s.Get("a.gguf") != nil {
			t.Errorf("%s: %d uploads are left; %v", name, open, s.Keys())
		}
	}
}

// A text from a web server is what a file with it is, and is fetched once.
func TestTextFromServer(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	got := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") != "bytes=0-0" {
			got++
		}
		w.Header().Set("ETag", `"1"`)
		http.ServeFile(w, r, calibText)
	}))
	defer server.Close()
	model := testmodel.Phi3(t)
	want, _, _ := phi3conv(t, "tokenize", model, "-f", calibText, "--ids")
	for range 2 {
		stdout, stderr, code := phi3conv(t, "tokenize", model, "-f", server.URL+"/calib.txt?signature=secret", "--ids")
		if code != exitOK || stdout != want {
			t.Errorf("exit %d\n%s", code, stderr)
		}
	}
	if got != 1 {
		t.Errorf("it was sent %d times", got)
	}
	_, stderr, code := phi3conv(t, "tokenize", model, "-f", "http://example.com/a.txt")
	if code != exitUsage || !strings.Contains(stderr, "use https://") {
		t.Errorf("exit %d\n%s", code, stderr)
	}
}

// Every flag that takes a file says whether it is an input, which may be elsewhere, or an output.
func TestFileFlags(t *testing.T) {
	local := []string{"sign-key", "verify-key", "dir"} // secrets, and where paths of a batch file begin
	for _, c := range allCommands(commands()) {
		for _, f := range c.Flags {
			name, usage := f.Names()[0], ""
			if d, ok := f.(cli.DocGenerationFlag); ok {
				usage = d.GetUsage()
			}
			isFile := strings.Contains(usage, "`FILE") || strings.Contains(usage, "`DIR") ||
				strings.Contains(usage, "`MODEL")
			known := slices.Contains(slices.Concat(inputFlags, outputFlags, local), name) || c.Name == "demo"
			if isFile && !known {
				t.Errorf("%s: --%s takes a file, and is in no list of inputs.go", c.Name, name)
			}
		}
	}
}
