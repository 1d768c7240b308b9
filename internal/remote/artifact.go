package remote

import (
	"context"
	"io"
	"path/filepath"

	"github.com/phi3conv/phi3conv/internal/fetch"
	"github.com/phi3conv/phi3conv/internal/pack"
)

// openArtifact finds an artifact in a registry. Its layers are the files.
func openArtifact(ctx context.Context, name string, opt Options) (*place, error) {
	r, err := pack.OpenRegistry(name, pack.RegistryOptions{UserAgent: opt.UserAgent})
	if err != nil {
		return nil, err
	}
	im, err := r.Open(ctx)
	if err != nil {
		return nil, err
	}
	layers, err := im.Layers()
	if err != nil {
		return nil, err
	}
	p := &place{origin: Origin{URL: pack.Scheme + r.Name(), Revision: im.Desc.Digest.String()}}
	for _, l := range layers {
		p.files = append(p.files, fetch.File{Name: l.Name, Size: l.Size,
			Hash: fetch.Hash{Kind: fetch.SHA256, Hex: l.Digest.Encoded()},
			Range: func(ctx context.Context, off, n int64) (io.ReadCloser, error) {
				return layerRange(ctx, r, &l, off, n)
			}})
	}
	dir, err := cacheDir("oci", im.Desc.Digest.Encoded())
	if err != nil {
		return nil, err
	}
	p.dir = filepath.Join(dir, Base(name)) // names in reports are those of paths
	p.save = saveBeside(p.dir)
	return p, nil
}

func layerRange(ctx context.Context, r *pack.Registry, l *pack.Layer, off, n int64) (io.ReadCloser, error) {
	rc, err := r.Fetch(ctx, l.Descriptor)
	if err != nil {
		return nil, fetch.Transient(err)
	}
	if s, ok := rc.(io.Seeker); ok && off > 0 {
		_, err = s.Seek(off, io.SeekStart)
	} else {
		_, err = io.CopyN(io.Discard, rc, off)
	}
	if err != nil {
		_ = rc.Close()
		return nil, fetch.Transient(err)
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(rc, n), rc}, nil
}
