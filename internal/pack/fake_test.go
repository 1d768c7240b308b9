package pack

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
)

// fakeRegistry is the part of the distribution protocol that pack uses, with faults on demand. The
// round trip with the CNCF registry is in .ci/pack.
type fakeRegistry struct {
	mu        sync.Mutex
	blobs     map[string][]byte // by digest
	manifests map[string][]byte // by digest and tag
	uploads   map[string][]byte
	log       []string // method, path and range of each request

	cutSend   int  // bytes of a PATCH after which the connection is cut, once
	cutGet    int  // bytes of a blob after which the connection is cut, once
	noParts   bool // PATCH is refused
	noRange   bool // ranges are ignored
	elsewhere bool // uploads are sent to another host
	forget    bool // sessions are unknown
	noDigest  bool // manifests come without their digest
	noHead    bool // HEAD is refused
}

func newFake(t *testing.T) (*fakeRegistry, string) {
	t.Helper()
	f := &fakeRegistry{blobs: map[string][]byte{}, manifests: map[string][]byte{}, uploads: map[string][]byte{}}
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	return f, Scheme + strings.TrimPrefix(s.URL, "http://") + "/me/model:v1"
}

// requests counts those that begin with a text, and forgets all.
func (f *fakeRegistry) requests(prefix string) (n int, all string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	all = strings.Join(f.log, "\n")
	for _, l := range f.log {
		if strings.HasPrefix(l, prefix) {
			n++
		}
	}
	f.log = nil
	return n, all
}

// set changes a blob or manifest.
func (f *fakeRegistry) set(m map[string][]byte, name string, data []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m[name] = data
}

func (f *fakeRegistry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rng := r.Header.Get("Content-Range") + r.Header.Get("Range")
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = append(f.log, strings.TrimSpace(r.Method+" "+r.URL.Path+" "+rng))
	path := strings.TrimPrefix(r.URL.Path, "/v2/me/model/")
	kind, name, _ := strings.Cut(path, "/")
	switch {
	case kind == "manifests" && r.Method == http.MethodPut:
		data, _ := io.ReadAll(r.Body)
		d := digest.FromBytes(data).String()
		f.manifests[name], f.manifests[d] = data, data
		w.WriteHeader(http.StatusCreated)
	case kind == "manifests":
		data, ok := f.manifests[name]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		d := name
		if !strings.HasPrefix(d, "sha256:") {
			d = digest.FromBytes(data).String()
		}
		if f.noHead && r.Method == http.MethodHead {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		document := struct{ MediaType string }{"application/vnd.oci.image.manifest.v1+json"}
		_ = json.Unmarshal(data, &document)
		w.Header().Set("Content-Type", document.MediaType)
		if !f.noDigest {
			w.Header().Set("Docker-Content-Digest", d)
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		_, _ = w.Write(data)
	case strings.HasPrefix(name, "uploads/"):
		f.upload(w, r, strings.TrimPrefix(name, "uploads/"))
	default:
		f.blob(w, r, name)
	}
}

func (f *fakeRegistry) blob(w http.ResponseWriter, r *http.Request, name string) {
	data, ok := f.blobs[name]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if !f.noRange {
		w.Header().Set("Accept-Ranges", "bytes")
	}
	status := http.StatusOK
	if spec, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes="); ok && !f.noRange {
		from, _, _ := strings.Cut(spec, "-")
		n, _ := strconv.Atoi(from)
		data = data[n:]
		status = http.StatusPartialContent
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return
	}
	n := f.cutGet
	if n < len(data) {
		f.cutGet = 0
	}
	f.mu.Unlock() // a client may ask again before it has read all
	defer f.mu.Lock()
	if n > 0 && n < len(data) {
		_, _ = w.Write(data[:n])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(data)
}

func (f *fakeRegistry) upload(w http.ResponseWriter, r *http.Request, id string) {
	if r.Method == http.MethodPost {
		id = fmt.Sprintf("s%d", len(f.uploads))
		f.uploads[id] = nil
	}
	data, ok := f.uploads[id]
	if !ok || f.forget && r.Method == http.MethodGet {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	host := r.Host
	if f.elsewhere {
		host = "evil.example"
	}
	w.Header().Set("Location", "http://"+host+"/v2/me/model/blobs/uploads/"+id)
	answer := func(status int) {
		w.Header().Set("Range", fmt.Sprintf("0-%d", max(len(f.uploads[id])-1, 0)))
		w.WriteHeader(status)
	}
	switch r.Method {
	case http.MethodPost:
		answer(http.StatusAccepted)
	case http.MethodGet:
		answer(http.StatusNoContent)
	case http.MethodPatch:
		from, _, _ := strings.Cut(r.Header.Get("Content-Range"), "-")
		if f.noParts || from != strconv.Itoa(len(data)) {
			answer(http.StatusRequestedRangeNotSatisfiable)
			return
		}
		if n := f.cutSend; n > 0 {
			f.cutSend = 0
			part, _ := io.ReadAll(io.LimitReader(r.Body, int64(n)))
			f.uploads[id] = append(data, part...)
			panic(http.ErrAbortHandler)
		}
		part, _ := io.ReadAll(r.Body)
		f.uploads[id] = append(data, part...)
		answer(http.StatusAccepted)
	case http.MethodPut:
		part, _ := io.ReadAll(r.Body)
		data = append(data, part...)
		d := r.URL.Query().Get("digest")
		if digest.FromBytes(data).String() != d {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		f.blobs[d] = data
		w.WriteHeader(http.StatusCreated)
	}
}
