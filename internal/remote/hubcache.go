package remote

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/phi3conv/phi3conv/internal/atomicfile"
	"github.com/phi3conv/phi3conv/internal/fetch"
)

// hubCache is a repository in huggingface_hub's cache:
//
//	models--OWNER--NAME/blobs/HASH             a file's content, under its SHA-256 or git's SHA-1
//	models--OWNER--NAME/snapshots/COMMIT/FILE  a link to that
//	models--OWNER--NAME/refs/REVISION          a branch's or tag's commit
//	models--OWNER--NAME/trees/COMMIT.json      the list of a commit's files
//	.locks/models--OWNER--NAME/HASH.lock       locked while the blob is written
//
// huggingface_hub may make a blob a link to a file that several repositories share. What is written here is a file.
type hubCache struct {
	root string // of all repositories
	dir  string
	name string // models--OWNER--NAME
}

// hubHome returns the directory of what the hub's programs keep.
func hubHome() (string, error) {
	if home := os.Getenv("HF_HOME"); home != "" {
		return expand(home), nil
	}
	if cache := os.Getenv("XDG_CACHE_HOME"); cache != "" {
		return filepath.Join(expand(cache), "huggingface"), nil
	}
	home, err := os.UserHomeDir()
	return filepath.Join(home, ".cache", "huggingface"), err
}

// expand expands variables and a home directory, as huggingface_hub does.
func expand(path string) string {
	path = os.ExpandEnv(path)
	if rest, ok := strings.CutPrefix(path, "~"); ok && (rest == "" || rest[0] == '/') {
		if home, err := os.UserHomeDir(); err == nil {
			return home + rest
		}
	}
	return path
}

func openHubCache(n hubName) (*hubCache, error) {
	root := expand(cmp.Or(os.Getenv("HF_HUB_CACHE"), os.Getenv("HUGGINGFACE_HUB_CACHE")))
	if root == "" {
		home, err := hubHome()
		if err != nil {
			return nil, err
		}
		root = filepath.Join(home, "hub")
	}
	name := n.kind + "s--" + strings.ReplaceAll(n.repo, "/", "--")
	return &hubCache{root: root, dir: filepath.Join(root, name), name: name}, nil
}

// hubToken returns the user's token, "" if there is none.
func hubToken() string {
	if t := strings.TrimSpace(cmp.Or(os.Getenv("HF_TOKEN"), os.Getenv("HUGGING_FACE_HUB_TOKEN"))); t != "" {
		return t
	}
	if isTrue(os.Getenv("HF_HUB_DISABLE_IMPLICIT_TOKEN")) {
		return ""
	}
	file := expand(os.Getenv("HF_TOKEN_PATH"))
	if file == "" {
		home, err := hubHome()
		if err != nil {
			return ""
		}
		file = filepath.Join(home, "token")
	}
	data, _ := os.ReadFile(file)
	return strings.TrimSpace(string(data))
}

func isOffline() bool {
	return isTrue(cmp.Or(os.Getenv("HF_HUB_OFFLINE"), os.Getenv("TRANSFORMERS_OFFLINE")))
}

// isTrue reads a variable as huggingface_hub does.
func isTrue(value string) bool {
	switch strings.ToUpper(value) {
	case "1", "ON", "YES", "TRUE":
		return true
	}
	return false
}

func (c *hubCache) snapshot(sha string) string { return filepath.Join(c.dir, "snapshots", sha) }

// ref returns the commit that a branch or tag had, "" if that is not known.
func (c *hubCache) ref(revision string) string {
	data, err := os.ReadFile(filepath.Join(c.dir, "refs", filepath.FromSlash(revision)))
	if sha := strings.TrimSpace(string(data)); err == nil && commit.MatchString(sha) {
		return sha
	}
	return ""
}

func (c *hubCache) saveRef(revision, sha string) error {
	if revision == sha || c.ref(revision) == sha {
		return nil
	}
	return write(filepath.Join(c.dir, "refs", filepath.FromSlash(revision)), []byte(sha))
}

func write(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	return atomicfile.WriteFile(path, data)
}

func (c *hubCache) treePath(sha string) string { return filepath.Join(c.dir, "trees", sha+".json") }

// tree returns the list of a commit's files, nil if there is none.
func (c *hubCache) tree(sha string) map[string]treeEntry {
	data, err := os.ReadFile(c.treePath(sha))
	if err != nil {
		return nil
	}
	return parseTree(data)
}

func (c *hubCache) saveTree(sha string, tree map[string]treeEntry) error {
	data, err := json.MarshalIndent(treeFile{1, tree}, "", " ")
	if err != nil {
		return err
	}
	return write(c.treePath(sha), data)
}

// walk makes a list of the files of a commit that are there.
func (c *hubCache) walk(sha string) map[string]treeEntry {
	tree, root := map[string]treeEntry{}, c.snapshot(sha)
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // what cannot be read is not there
		}
		info, err := os.Stat(path)
		name, e := filepath.Rel(root, path)
		if err != nil || e != nil {
			return nil // see above
		}
		entry := treeEntry{Size: info.Size()}
		link, _ := os.Readlink(path)
		switch hash := filepath.Base(link); {
		case len(hash) == 64:
			entry.LFSHash, entry.LFSSize = hash, info.Size()
		case len(hash) == 40:
			entry.BlobID = hash
		default: // a copy, where there are no links
			entry.BlobID = strings.Repeat("0", 40)
		}
		tree[filepath.ToSlash(name)] = entry
		return nil
	})
	return tree
}

const cacheTag = `Signature: 8a477f597d28d172789f06886806bc55
# This file is a cache directory tag created by huggingface_hub.
# For information about cache directory tags, see:
#	https://bford.info/cachedir/
`

// save puts a file into the snapshot of a commit.
func (c *hubCache) save(ctx context.Context, sha, name string, f *fetch.File, progress func(n int64)) error {
	blob := filepath.Join(c.dir, "blobs", f.Hash.Hex)
	link := filepath.Join(c.snapshot(sha), filepath.FromSlash(name))
	locks := filepath.Join(c.root, ".locks", c.name)
	for _, dir := range []string{filepath.Dir(blob), filepath.Dir(link), locks} {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return err
		}
	}
	if tag := filepath.Join(c.root, "CACHEDIR.TAG"); !exists(tag) {
		_ = os.WriteFile(tag, []byte(cacheTag), 0o666) // others may read it; without it all works
	}
	lock, err := lockFile(ctx, filepath.Join(locks, f.Hash.Hex+".lock"), 0o664)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	if info, err := os.Stat(blob); err == nil && info.Size() == f.Size {
		progress(f.Size)
	} else if err := download(ctx, f, blob+".incomplete", blob, progress); err != nil {
		return err
	}
	return c.link(blob, link, name)
}

// link makes a file of a snapshot a link to its blob; where there are no links, the blob itself.
func (c *hubCache) link(blob, link, name string) error {
	to := path.Join(strings.Repeat("../", strings.Count(name, "/")+2), "blobs", filepath.Base(blob))
	if old, err := os.Readlink(link); err == nil && old == to {
		return nil
	}
	if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if os.Symlink(filepath.FromSlash(to), link) == nil {
		return nil
	}
	return os.Rename(blob, link)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
