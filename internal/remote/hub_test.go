package remote

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/phi3conv/phi3conv/internal/fetch"
)

const testCommit = "0123456789abcdef0123456789abcdef01234567"

// fakeHub has one repository, me/model, whose large files lie at another host.
type fakeHub struct {
	*httptest.Server
	cdn   *httptest.Server
	files map[string][]byte // of more than 1000 bytes: LFS

	mu     sync.Mutex
	sent   map[string]int // bytes of each file
	cut    int            // answers end after so many bytes, 0: never
	hosts  map[string]string
	gated  string // what X-Error-Code says
	token  string // that is demanded
	sha    string // what X-Repo-Commit says, "" for the right one
	wrong  bool   // other bytes of the same size
	ranges bool   // Range is understood
}

func newHub(t *testing.T) *fakeHub {
	t.Helper()
	h := &fakeHub{sent: map[string]int{}, hosts: map[string]string{}, ranges: true, files: map[string][]byte{
		"config.json": []byte(`{"model_type": "phi3"}`), "tokenizer.json": bytes.Repeat([]byte("t"), 5000),
		"model.safetensors": random(300_000), "pytorch_model.bin": random(2000), "onnx/model.onnx": random(2000),
		"sub/m-Q4_K_M.gguf": random(2000), "README.md": []byte("a model"), "text.txt": []byte("hello"),
	}}
	h.cdn = httptest.NewServer(http.HandlerFunc(h.serveFile))
	h.Server = httptest.NewServer(http.HandlerFunc(h.serve))
	t.Cleanup(h.cdn.Close)
	t.Cleanup(h.Close)
	t.Setenv("HF_ENDPOINT", h.URL)
	t.Setenv("HF_HUB_CACHE", t.TempDir())
	t.Setenv("HF_HOME", t.TempDir())
	t.Setenv("HF_TOKEN", "")
	t.Setenv("HF_HUB_OFFLINE", "")
	fetch.Pause = time.Millisecond
	return h
}

func random(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(n)})
	_, _ = r.Read(b)
	return b
}

func (h *fakeHub) serve(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.hosts["hub"] += r.Header.Get("Authorization")
	gated, token := h.gated, h.token
	h.mu.Unlock()
	if gated != "" || token != "" && r.Header.Get("Authorization") != "Bearer "+token {
		w.Header().Set("X-Error-Code", gated)
		http.Error(w, "no", http.StatusUnauthorized)
		return
	}
	switch path := r.URL.Path; {
	case path == "/api/models/me/model/revision/main":
		_, _ = fmt.Fprintf(w, `{"sha": %q}`, testCommit)
	case path == "/api/models/me/model/tree/"+testCommit:
		_ = json.NewEncoder(w).Encode(h.tree())
	case strings.HasPrefix(path, "/me/model/resolve/"+testCommit+"/"):
		name := strings.TrimPrefix(path, "/me/model/resolve/"+testCommit+"/")
		if len(h.files[name]) > 1000 {
			http.Redirect(w, r, h.cdn.URL+"/"+name, http.StatusFound)
			return
		}
		r.URL.Path = "/" + name
		h.serveFile(w, r)
	default:
		w.Header().Set("X-Error-Code", "RevisionNotFound")
		http.NotFound(w, r)
	}
}

// serveFile sends a file, from wherever a range begins, and may stop early.
func (h *fakeHub) serveFile(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	data := h.files[name]
	h.mu.Lock()
	if r.Host == strings.TrimPrefix(h.cdn.URL, "http://") {
		h.hosts["cdn"] += r.Header.Get("Authorization")
	}
	cut, sha := h.cut, h.sha
	if h.wrong {
		data = bytes.ToUpper(data)
	}
	ranges := h.ranges
	h.mu.Unlock()
	if sha != "" {
		w.Header().Set("X-Repo-Commit", sha)
	}
	off := 0
	if ranges && r.Header.Get("Range") != "" {
		_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &off)
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", off, len(data)-1, len(data)))
		w.Header().Set("Content-Length", fmt.Sprint(len(data)-off))
		w.WriteHeader(http.StatusPartialContent)
	} else {
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
	}
	rest := data[off:]
	if cut > 0 && len(rest) > cut {
		rest = rest[:cut]
	}
	n, _ := w.Write(rest)
	h.mu.Lock()
	h.sent[name] += n
	h.mu.Unlock()
}

func (h *fakeHub) tree() (list []map[string]any) {
	for name, data := range h.files {
		git := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(data)), data...))
		f := map[string]any{"type": "file", "path": name, "size": len(data), "oid": hex.EncodeToString(git[:])}
		if len(data) > 1000 {
			sum := sha256.Sum256(data)
			f["lfs"] = map[string]any{"oid": hex.EncodeToString(sum[:]), "size": len(data), "pointerSize": 130}
		}
		list = append(list, f)
	}
	return append(list, map[string]any{"type": "directory", "path": "sub"},
		map[string]any{"type": "file", "path": "../../evil", "size": 4, "oid": strings.Repeat("a", 40)})
}

func get(name string, need Need) (string, error) {
	path, _, err := Fetch(context.Background(), name, need, Options{UserAgent: "test"})
	return path, err
}

// A model's files lie in the cache where huggingface_hub looks, and only those that are needed.
func TestHub(t *testing.T) {
	h := newHub(t)
	dir, err := get("hf://me/model", Tokenizer)
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(os.Getenv("HF_HUB_CACHE"), "models--me--model")
	if want := filepath.Join(root, "snapshots", testCommit); dir != want {
		t.Fatalf("%s, expected %s", dir, want)
	}
	if _, err := os.Stat(filepath.Join(dir, "model.safetensors")); err == nil {
		t.Error("weights were fetched for a tokenizer")
	}
	if _, err := get("hf://me/model@main", Everything); err != nil {
		t.Fatal(err)
	}
	for name, data := range h.files {
		got, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		if isNeeded := !strings.Contains(name, "/") && name != "pytorch_model.bin"; !isNeeded {
			if err == nil {
				t.Errorf("%s was fetched", name)
			}
			continue
		}
		if !bytes.Equal(got, data) {
			t.Errorf("%s: %v, %d bytes, expected %d", name, err, len(got), len(data))
		}
		if h.sent[name] != len(data) {
			t.Errorf("%s: %d bytes were sent, expected %d", name, h.sent[name], len(data))
		}
		if link, err := os.Readlink(filepath.Join(dir, name)); err != nil || !strings.HasPrefix(link, "../../blobs/") {
			t.Errorf("%s: link to %q, %v", name, link, err)
		}
	}
	if ref, err := os.ReadFile(filepath.Join(root, "refs", "main")); string(ref) != testCommit {
		t.Errorf("refs/main has %q, %v", ref, err)
	}
	h.Close() // what is there is found without the hub
	for _, env := range []string{"", "1"} {
		t.Setenv("HF_HUB_OFFLINE", env)
		if again, err := get("hf://me/model", Everything); again != dir || err != nil {
			t.Errorf("offline %q: %s, %v", env, again, err)
		}
	}
	if _, err := get("hf://me/other", Everything); !errors.Is(err, fs.ErrNotExist) ||
		!strings.Contains(err.Error(), "HF_HUB_OFFLINE") {
		t.Error(err)
	}
	if _, err := get("hf://me/model/sub/m-Q4_K_M.gguf", Everything); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// Single files, in directories, at a revision; names that are none.
func TestHubNames(t *testing.T) {
	newHub(t)
	for name, want := range map[string]string{
		"hf://me/model/text.txt":                          "text.txt",
		"hf://me/model@" + testCommit + "/README.md":      "README.md",
		"hf://me/model/sub/m-Q4_K_M.gguf":                 "sub/m-Q4_K_M.gguf",
		"hf://me/model/sub":                               "sub/m-Q4_K_M.gguf", // the only one
		"hf://me/model@" + testCommit + "/config.json":    "config.json",
		"hf://me/model@main/sub/m-Q4_K_M.gguf":            "sub/m-Q4_K_M.gguf",
		"hf://me/model@" + testCommit + "/sub/":           "sub/m-Q4_K_M.gguf",
		"hf://me/model@%6dain/text.txt":                   "text.txt",
		"hf://me/model@" + testCommit + "/tokenizer.json": "tokenizer.json",
	} {
		path, err := get(name, Everything)
		if _, e := os.Stat(path); err != nil || e != nil || !strings.HasSuffix(filepath.ToSlash(path), "/"+want) {
			t.Errorf("%s: %s, %v", name, path, err)
		}
	}
	for name, want := range map[string]string{
		"hf://me": "expected hf://", "hf://me/../model": "expected hf://", "hf://me/model/../../x": "expected hf://",
		"hf://me/model/none.txt": "no file none.txt", "hf://me/model@dev": "no revision dev",
		"hf:///x": "expected hf://",
	} {
		if _, err := get(name, Everything); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, expected %q", name, err, want)
		}
	}
}

// A transfer that is cut again and again is continued, and no byte is asked for twice.
func TestHubResumes(t *testing.T) {
	h := newHub(t)
	h.cut = 50_000
	dir, err := get("hf://me/model", Everything)
	if err != nil {
		t.Fatal(err)
	}
	name := "model.safetensors"
	got, err := os.ReadFile(filepath.Join(dir, name))
	if !bytes.Equal(got, h.files[name]) || h.sent[name] != len(got) {
		t.Errorf("%d bytes, %v; %d were sent", len(got), err, h.sent[name])
	}
}

// What an earlier process has left is continued; if it is wrong, all is fetched again.
func TestHubContinues(t *testing.T) {
	for _, right := range []bool{true, false} {
		h := newHub(t)
		h.ranges = right // a server without ranges sends all of it
		data := h.files["model.safetensors"]
		begin := bytes.Clone(data[:100_000])
		if !right {
			begin[5]++
		}
		sum := sha256.Sum256(data)
		blobs := filepath.Join(os.Getenv("HF_HUB_CACHE"), "models--me--model", "blobs")
		if err := errors.Join(os.MkdirAll(blobs, 0o777),
			os.WriteFile(filepath.Join(blobs, hex.EncodeToString(sum[:])+".incomplete"), begin, 0o666)); err != nil {
			t.Fatal(err)
		}
		dir, err := get("hf://me/model", Everything)
		if err != nil {
			t.Fatal(err)
		}
		want := len(data) - len(begin)
		if !right {
			want = 2 * len(data)
		}
		got, _ := os.ReadFile(filepath.Join(dir, "model.safetensors"))
		if !bytes.Equal(got, data) || h.sent["model.safetensors"] != want {
			t.Errorf("%v: %d bytes were sent, expected %d", right, h.sent["model.safetensors"], want)
		}
	}
}

// What is refused is refused by name, and nothing of it is published.
func TestHubRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(h *fakeHub)
		want   string
		kind   error
	}{
		"hash":     {func(h *fakeHub) { h.wrong = true }, "what was sent has the hash", fetch.ErrRefused},
		"revision": {func(h *fakeHub) { h.sha = strings.Repeat("b", 40) }, "of the revision bbbb", fetch.ErrRefused},
		"gated":    {func(h *fakeHub) { h.gated = "GatedRepo" }, "me/model is gated", fetch.ErrAccess},
		"private":  {func(h *fakeHub) { h.gated = "RepoNotFound" }, "or it is private", fs.ErrNotExist},
		"no one":   {func(h *fakeHub) { h.Close() }, "network", fetch.ErrNetwork},
	} {
		h := newHub(t)
		c.damage(h)
		_, err := get("hf://me/model", Everything)
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, expected %q", name, err, c.want)
		}
		pattern := filepath.Join(os.Getenv("HF_HUB_CACHE"), "*/snapshots/*/model.safetensors")
		if left, _ := filepath.Glob(pattern); left != nil {
			t.Errorf("%s: %s is there", name, left)
		}
	}
}

// The token goes to the hub, from the environment or its file, and not to where the hub sends a client.
func TestHubToken(t *testing.T) {
	h := newHub(t)
	h.token = "hf_secret"
	if err := os.WriteFile(filepath.Join(os.Getenv("HF_HOME"), "token"), []byte("hf_secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := get("hf://me/model", Everything); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(h.hosts["hub"], "Bearer hf_secret") || h.hosts["cdn"] != "" {
		t.Errorf("%q", h.hosts)
	}
	t.Setenv("HF_TOKEN", "hf_other")
	t.Setenv("HF_HUB_CACHE", t.TempDir())
	if _, err := get("hf://me/model", Everything); !errors.Is(err, fetch.ErrAccess) ||
		!strings.Contains(err.Error(), "the token was refused") {
		t.Error(err)
	}
}

// A file that several repositories share, as huggingface_hub links it, is found behind both links.
func TestHubSharedBlob(t *testing.T) {
	h := newHub(t)
	data := h.files["model.safetensors"]
	sum := sha256.Sum256(data)
	cache := os.Getenv("HF_HUB_CACHE")
	shared := filepath.Join(cache, "blobs", "ab", "abcd")
	blob := filepath.Join(cache, "models--me--model", "blobs", hex.EncodeToString(sum[:]))
	for _, dir := range []string{filepath.Dir(shared), filepath.Dir(blob)} {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.WriteFile(shared, data, 0o666), os.Symlink("../../blobs/ab/abcd", blob)); err != nil {
		t.Skip(err)
	}
	dir, err := get("hf://me/model", Everything)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "model.safetensors"))
	if !bytes.Equal(got, data) || h.sent["model.safetensors"] != 0 {
		t.Errorf("%d bytes, %v; %d were sent", len(got), err, h.sent["model.safetensors"])
	}
}
