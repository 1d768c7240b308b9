package remote

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"github.com/phi3conv/phi3conv/internal/bucket"
	"github.com/phi3conv/phi3conv/internal/fetch"
	"github.com/phi3conv/phi3conv/internal/usage"
)

// openBucket finds an object, or all whose keys begin with the name as with a directory's.
func openBucket(ctx context.Context, name string, _ Options) (*place, error) {
	n, err := bucket.Parse(name)
	if err != nil {
		return nil, usage.Errorf("%w", err)
	}
	c, err := bucket.Open(ctx)
	if err != nil {
		return nil, err
	}
	key := strings.TrimSuffix(n.Key, "/")
	dir := path.Dir(key)
	if dir == "." || strings.HasSuffix(n.Key, "/") {
		dir = ""
	}
	// The parts of a split set, or the files of a directory, begin in the same way.
	prefix, _, _ := strings.Cut(key, "-00001-of-")
	objects, err := c.List(ctx, bucket.Name{Bucket: n.Bucket, Key: prefix})
	if err != nil {
		return nil, err
	}
	var files []fetch.File
	for _, o := range objects {
		if !isLocal(o.Key) {
			continue
		}
		at := bucket.Name{Bucket: n.Bucket, Key: o.Key}
		files = append(files, fetch.File{Name: o.Key, Size: o.Size,
			Hash: fetch.Hash{Kind: fetch.ETag, Hex: strings.Trim(o.ETag, `"`)},
			Range: func(ctx context.Context, off, size int64) (io.ReadCloser, error) {
				return c.Range(ctx, at, o.ETag, off, size)
			}})
	}
	all, isFile := inside(files, key)
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: there is no such object, nor one in %s/: %w", n, n, fs.ErrNotExist)
	}
	p := &place{origin: Origin{URL: n.String()}, files: all}
	if isFile {
		p.file = path.Base(key)
	}
	version := []string{n.Bucket, dir}
	for i := range all {
		version = append(version, all[i].Name, all[i].Hash.Hex)
	}
	if p.dir, err = cacheDir("s3", id(version...)); err != nil {
		return nil, err
	}
	if !isFile && key != "" { // names in reports are those of paths
		p.dir = filepath.Join(p.dir, path.Base(key))
	}
	p.save = saveBeside(p.dir)
	return p, nil
}
