package remote

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/phi3conv/phi3conv/internal/fetch"
	"github.com/phi3conv/phi3conv/internal/usage"
)

// hubName is what hf://[datasets/]OWNER/NAME[@REVISION][/PATH] says.
type hubName struct {
	kind     string // "model" or "dataset"
	repo     string // OWNER/NAME
	revision string // "main" if none is given
	path     string // of a file or a directory in it, or ""
}

var (
	hubPart = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,95}$`)
	hubRef  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$`)
	commit  = regexp.MustCompile(`^[0-9a-f]{40}$`)
	hashHex = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
)

func parseHub(name string) (hubName, error) {
	r := hubName{kind: "model"}
	rest := strings.TrimPrefix(name, "hf://")
	if after, ok := strings.CutPrefix(rest, "datasets/"); ok {
		r.kind, rest = "dataset", after
	}
	owner, rest, _ := strings.Cut(rest, "/")
	repo, rest, _ := strings.Cut(rest, "/")
	repo, r.revision, _ = strings.Cut(repo, "@")
	if r.revision == "refs" { // refs/pr/3
		parts := strings.SplitN(rest, "/", 3)
		if len(parts) < 2 {
			return r, usage.Errorf("%s: expected a revision such as refs/pr/3", name)
		}
		r.revision += "/" + parts[0] + "/" + parts[1]
		rest = strings.Join(parts[2:], "")
	}
	r.revision, _ = url.PathUnescape(cmp.Or(r.revision, "main"))
	r.path = strings.TrimSuffix(rest, "/")
	if !hubPart.MatchString(owner) || !hubPart.MatchString(repo) || !hubRef.MatchString(r.revision) ||
		strings.Contains(r.revision, "..") || r.path != "" && !isLocal(r.path) {
		return r, usage.Errorf("%s: expected hf://OWNER/NAME, hf://OWNER/NAME@REVISION or "+
			"hf://OWNER/NAME/FILE", name)
	}
	r.repo = owner + "/" + repo
	return r, nil
}

func (n hubName) String() string {
	if n.kind == "dataset" {
		return "datasets/" + n.repo
	}
	return n.repo
}

// defaultEndpoint is the hub.
const defaultEndpoint = "https://huggingface.co"

// hub is a repository of the hub, and where it is in the cache.
type hub struct {
	hubName
	cache    *hubCache
	endpoint string
	client   *fetch.Client
}

func openHub(ctx context.Context, name string, opt Options) (*place, error) {
	n, err := parseHub(name)
	if err != nil {
		return nil, err
	}
	cache, err := openHubCache(n)
	if err != nil {
		return nil, err
	}
	h := &hub{hubName: n, cache: cache, endpoint: strings.TrimSuffix(cmp.Or(os.Getenv("HF_ENDPOINT"), defaultEndpoint),
		"/")}
	h.client = &fetch.Client{Token: hubToken(), UserAgent: opt.UserAgent, Explain: h.explain}
	sha, files, err := h.list(ctx, opt)
	if err != nil {
		return nil, err
	}
	all, isFile := inside(files, n.path)
	if n.path != "" && len(all) == 0 {
		return nil, fmt.Errorf("%s: %s has no file %s at the revision %s: %w", name, n.repo, n.path, sha[:12],
			fs.ErrNotExist)
	}
	p := &place{
		origin: Origin{URL: h.endpoint + "/" + n.String(), Revision: sha},
		files:  all, dir: cache.snapshot(sha),
	}
	sub := n.path
	if isFile {
		sub = path.Dir(n.path)
		p.file = path.Base(n.path)
	}
	if sub == "." {
		sub = ""
	}
	p.dir = filepath.Join(p.dir, filepath.FromSlash(sub))
	p.save = func(ctx context.Context, f *fetch.File, progress func(n int64)) error {
		return cache.save(ctx, sha, path.Join(sub, f.Name), f, progress)
	}
	return p, nil
}

// list finds the commit of the revision and its files: those of the cache where the hub must not, or cannot, be asked.
func (h *hub) list(ctx context.Context, opt Options) (sha string, files []fetch.File, err error) {
	if isOffline() {
		sha, files, err = h.cached()
		if err != nil {
			err = fmt.Errorf("hf://%s: HF_HUB_OFFLINE is set, and %w", h.hubName, err)
		}
		return sha, files, err
	}
	sha, files, err = h.ask(ctx)
	if errors.Is(err, fetch.ErrNetwork) {
		if sha, files, e := h.cached(); e == nil {
			opt.Monitor.Note("%v; the cache has %s at %s, which is taken", err, h.hubName, sha[:12])
			return sha, files, nil
		}
	}
	return sha, files, err
}

// ask asks the hub.
func (h *hub) ask(ctx context.Context) (sha string, files []fetch.File, err error) {
	if sha = h.revision; !commit.MatchString(sha) {
		var info struct {
			SHA string `json:"sha"`
		}
		if _, err := h.client.JSON(ctx, h.api("revision", h.revision), &info); err != nil {
			return "", nil, err
		}
		if sha = info.SHA; !commit.MatchString(sha) {
			return "", nil, fmt.Errorf("hf://%s: %w: the hub says that the commit of %s is %.80q", h.hubName,
				fetch.ErrNetwork, h.revision, sha)
		}
	}
	tree := h.cache.tree(sha)
	if tree == nil {
		if tree, err = h.askTree(ctx, sha); err != nil {
			return "", nil, err
		}
		if err := h.cache.saveTree(sha, tree); err != nil {
			return "", nil, err
		}
	}
	if err := h.cache.saveRef(h.revision, sha); err != nil {
		return "", nil, err
	}
	return sha, h.files(sha, tree), nil
}

// api returns the address of something about a revision.
func (h *hub) api(what, revision string) string {
	return fmt.Sprintf("%s/api/%ss/%s/%s/%s", h.endpoint, h.kind, h.repo, what, url.PathEscape(revision))
}

var nextLink = regexp.MustCompile(`<([^>]+)>;\s*rel="next"`)

// askTree asks for the list of files at a commit, page by page.
func (h *hub) askTree(ctx context.Context, sha string) (map[string]treeEntry, error) {
	tree := map[string]treeEntry{}
	for next := h.api("tree", sha) + "?recursive=true"; next != ""; {
		var page []struct {
			Type, Path, Oid string
			Size            int64
			LFS             *struct {
				Oid  string
				Size int64
			}
			XetHash string
		}
		header, err := h.client.JSON(ctx, next, &page)
		if err != nil {
			return nil, err
		}
		for _, f := range page {
			if f.Type != "file" {
				continue
			}
			e := treeEntry{Size: f.Size, BlobID: f.Oid, XetHash: f.XetHash}
			if f.LFS != nil {
				e.LFSHash, e.LFSSize = f.LFS.Oid, f.LFS.Size
			}
			tree[f.Path] = e
		}
		link := nextLink.FindStringSubmatch(header.Get("Link"))
		if next = ""; link != nil {
			if next = link[1]; !strings.HasPrefix(next, h.endpoint+"/") {
				return nil, fmt.Errorf("hf://%s: %w: the list of files goes on at %.80q, at another host",
					h.hubName, fetch.ErrRefused, next)
			}
		}
	}
	return tree, nil
}

// files makes files of a list. Names that are no paths, and hashes that are none, are left out: no program makes them.
func (h *hub) files(sha string, tree map[string]treeEntry) (files []fetch.File) {
	for name, e := range tree {
		hash, size := e.hash(), e.size()
		if !isLocal(name) || !hashHex.MatchString(hash.Hex) {
			continue
		}
		at := fmt.Sprintf("%s/%s/resolve/%s/%s", h.endpoint, h.hubName, sha, (&url.URL{Path: name}).EscapedPath())
		check := func(header http.Header) error { return checkHeader(header, sha) }
		files = append(files, fetch.File{Name: name, Size: size, Hash: hash,
			Range: func(ctx context.Context, off, n int64) (io.ReadCloser, error) {
				return h.client.Range(ctx, at, "", size, off, n, check)
			}})
	}
	return files
}

// checkHeader refuses an answer that says that it is of another commit.
func checkHeader(header http.Header, sha string) error {
	if got := header.Get("X-Repo-Commit"); got != "" && got != sha {
		return fmt.Errorf("%w: it is of the revision %s, expected %s", fetch.ErrRefused, got, sha)
	}
	return nil
}

// cached finds the revision in the cache.
func (h *hub) cached() (sha string, files []fetch.File, err error) {
	if sha = h.revision; !commit.MatchString(sha) {
		if sha = h.cache.ref(h.revision); sha == "" {
			return "", nil, fmt.Errorf("the cache %s does not have its revision %s: %w", h.cache.dir, h.revision,
				fs.ErrNotExist)
		}
	}
	tree := h.cache.tree(sha)
	if tree == nil {
		tree = h.cache.walk(sha)
	}
	if files = h.files(sha, tree); len(files) == 0 {
		return "", nil, fmt.Errorf("the cache %s does not have its revision %s: %w", h.cache.dir, h.revision,
			fs.ErrNotExist)
	}
	for i := range files {
		files[i].Range = gone(files[i].Name)
	}
	return sha, files, nil
}

// explain says what an answer of the hub means, from the header that names it.
func (h *hub) explain(r *http.Response) error {
	said := cmp.Or(r.Header.Get("X-Error-Message"), r.Status)
	token := "set HF_TOKEN to a token of yours (" + h.endpoint + "/settings/tokens)"
	switch code := r.Header.Get("X-Error-Code"); {
	case code == "GatedRepo":
		if h.client.Token != "" {
			token = "the token that was sent must be of an account that was granted access"
		}
		return fmt.Errorf("%w: %s is gated: its publisher wants terms accepted. Accept them at %s/%s, and %s",
			fetch.ErrAccess, h.repo, h.endpoint, h.hubName, token)
	case code == "RepoNotFound", code == "" && r.StatusCode == http.StatusUnauthorized && h.client.Token == "":
		if h.client.Token == "" {
			return fmt.Errorf("there is no repository %s, or it is private: then %s: %w", h.repo, token, fs.ErrNotExist)
		}
		return fmt.Errorf("there is no repository %s that the token may read: %w", h.repo, fs.ErrNotExist)
	case code == "RevisionNotFound":
		return fmt.Errorf("%s has no revision %s: %w", h.repo, h.revision, fs.ErrNotExist)
	case code == "EntryNotFound":
		return fmt.Errorf("%s: %w", said, fs.ErrNotExist)
	case r.StatusCode == http.StatusUnauthorized:
		return fmt.Errorf("%w: the token was refused: %s", fetch.ErrAccess, said)
	}
	return nil
}

// treeEntry is a file in a list of the cache, as huggingface_hub writes it.
type treeEntry struct {
	Size    int64  `json:"size"`
	BlobID  string `json:"blob_id"`
	LFSHash string `json:"lfs_sha256,omitempty"`
	LFSSize int64  `json:"lfs_size,omitempty"`
	XetHash string `json:"xet_hash,omitempty"`
}

func (e *treeEntry) hash() fetch.Hash {
	if e.LFSHash != "" {
		return fetch.Hash{Kind: fetch.SHA256, Hex: e.LFSHash}
	}
	return fetch.Hash{Kind: fetch.Git, Hex: e.BlobID}
}

func (e *treeEntry) size() int64 {
	if e.LFSHash != "" {
		return e.LFSSize
	}
	return e.Size
}

// treeFile is such a list.
type treeFile struct {
	Format int                  `json:"format_version"`
	Files  map[string]treeEntry `json:"files"`
}

func parseTree(data []byte) map[string]treeEntry {
	var t treeFile
	if json.Unmarshal(data, &t) != nil || t.Format != 1 {
		return nil
	}
	return t.Files
}
