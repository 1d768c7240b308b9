package remote

import (
	"context"
	"io"
	"os"
	"path/filepath"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/fetch"
	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/phi3conv/phi3conv/internal/readahead"
)

// Stream is a model whose weights are read where they are.
type Stream struct {
	Path   string        // as if it were on this machine; configuration and tokenizer are
	Files  formats.Files // opens all of it
	Origin Origin
}

// Open opens a model for a command that reads its weights once: these are not stored, unless the cache has them. All of
// it is read with ctx.
func Open(ctx context.Context, name string, opt Options) (*Stream, error) {
	opt.Monitor = progress.Quiet(opt.Monitor)
	p, err := open(ctx, name, opt)
	if err != nil {
		return nil, err
	}
	if err := p.get(ctx, p.small(), opt.Monitor); err != nil {
		return nil, err
	}
	weights, err := p.weights(Everything)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(p.dir, 0o777); err != nil {
		return nil, err
	}
	s := &Stream{Path: p.path(), Origin: p.from(weights)}
	files := streamed{ctx, map[string]*fetch.File{}}
	for _, f := range weights {
		if !p.have(f) {
			files.byPath[p.local(f)] = f
		}
	}
	s.Files = files
	return s, nil
}

// streamed are files of this machine and others.
type streamed struct {
	ctx    context.Context // of the requests of readers, which have none
	byPath map[string]*fetch.File
}

func (s streamed) Open(path string) (formats.Opened, error) {
	f := s.byPath[path]
	if f == nil {
		return formats.Disk.Open(path)
	}
	r := readahead.New(s.ctx, f.Size, f.ReadAt)
	return formats.Opened{ReaderAt: r, Closer: io.NopCloser(nil), Size: f.Size}, nil
}

func (s streamed) Names(dir string) ([]string, error) {
	names, err := formats.Disk.Names(dir)
	for path := range s.byPath {
		if filepath.Dir(path) == filepath.Clean(dir) {
			names = append(names, filepath.Base(path))
		}
	}
	return names, err
}
