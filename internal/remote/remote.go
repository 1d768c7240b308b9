// Package remote makes files of this machine of names such as hf://OWNER/NAME, s3://BUCKET/KEY, oci://HOST/NAME:TAG and
// https://…, or reads them where they are. docs/sources.md is its manual.
package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/phi3conv/phi3conv/internal/fetch"
	"github.com/phi3conv/phi3conv/internal/output"
	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/phi3conv/phi3conv/internal/usage"
)

// Options say how servers are asked.
type Options struct {
	UserAgent string           // such as "phi3conv/1.0"
	Monitor   progress.Monitor // may be nil
}

// Origin says where files are from.
type Origin struct {
	URL      string   // of the repository, bucket, artifact or file, without what is secret
	Revision string   // of all of it: a commit or a digest; "" where there is none
	Files    []string // those with weights, with their hashes: "NAME sha256:HEX"
}

// place is what a name leads to: files at one version.
type place struct {
	name   string // as the user wrote it
	origin Origin
	files  []fetch.File // by name; in dir they have the same
	dir    string       // where they are on this machine, when they were fetched
	file   string       // the file that the name names, "" for a directory
	// save puts a file into dir. progress is told the bytes that are there.
	save func(ctx context.Context, f *fetch.File, progress func(n int64)) error
}

// scheme is a kind of place.
type scheme struct {
	prefix string
	open   func(ctx context.Context, name string, opt Options) (*place, error)
}

// schemes is the table of kinds: a new one is its own file and one line here.
var schemes = []scheme{
	{"hf://", openHub},
	{"s3://", openBucket},
	{"oci://", openArtifact},
	{"https://", openURL},
	{"http://", openURL},
}

// Is reports whether a name is that of a place.
func Is(name string) bool { return find(name) != nil }

func find(name string) *scheme {
	for i := range schemes {
		if strings.HasPrefix(name, schemes[i].prefix) {
			return &schemes[i]
		}
	}
	return nil
}

func open(ctx context.Context, name string, opt Options) (*place, error) {
	s := find(name)
	if s == nil {
		return nil, usage.Errorf("%s: no such kind of place", name)
	}
	p, err := s.open(ctx, name, opt)
	if err != nil {
		return nil, err
	}
	if len(p.files) == 0 {
		return nil, fmt.Errorf("%s: there are no files: %w", name, fs.ErrNotExist)
	}
	p.name = name
	return p, nil
}

// Need is what a command needs of a model.
type Need int

const (
	Everything Need = iota // weights too
	Tokenizer              // tokenizer and configuration
)

// Fetch returns the path of a file or directory on this machine that has what a name leads to, as far as it is needed.
// What is there already is not fetched again.
func Fetch(ctx context.Context, name string, need Need, opt Options) (path string, origin Origin, err error) {
	opt.Monitor = progress.Quiet(opt.Monitor)
	p, err := open(ctx, name, opt)
	if err != nil {
		return "", Origin{}, err
	}
	if err := p.get(ctx, p.small(), opt.Monitor); err != nil {
		return "", Origin{}, err
	}
	weights, err := p.weights(need)
	if err != nil {
		return "", Origin{}, err
	}
	if err := p.get(ctx, weights, opt.Monitor); err != nil {
		return "", Origin{}, err
	}
	return p.path(), p.from(weights), nil
}

// path returns what the name names, on this machine.
func (p *place) path() string { return filepath.Join(p.dir, filepath.FromSlash(p.file)) }

// local returns where a file is on this machine when it was fetched.
func (p *place) local(f *fetch.File) string { return filepath.Join(p.dir, filepath.FromSlash(f.Name)) }

// have reports whether a file was fetched.
func (p *place) have(f *fetch.File) bool {
	info, err := os.Stat(p.local(f))
	return err == nil && info.Mode().IsRegular() && info.Size() == f.Size
}

// from returns the origin of some files.
func (p *place) from(files []*fetch.File) Origin {
	o := p.origin
	for _, f := range files {
		o.Files = append(o.Files, f.Name+" "+f.Hash.String())
	}
	return o
}

// transfers is the number of files that are fetched at the same time.
const transfers = 4

// get fetches those of the files that are not there.
func (p *place) get(ctx context.Context, files []*fetch.File, m progress.Monitor) error {
	files = slices.DeleteFunc(slices.Clone(files), p.have)
	if len(files) == 0 {
		return nil
	}
	var total int64
	for _, f := range files {
		total += f.Size
	}
	if err := os.MkdirAll(p.dir, 0o777); err != nil {
		return err
	}
	if err := output.Room(filepath.Join(p.dir, "file"), total); err != nil {
		return err
	}
	step := m.Begin("fetching", total, progress.Bytes)
	defer step.End()
	var done atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(transfers)
	for _, f := range files {
		g.Go(func() error { return p.save(ctx, f, func(n int64) { step.Set(done.Add(n)) }) })
	}
	err := g.Wait()
	switch {
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("interrupted, what was fetched of %s is kept and the same command continues: %w", p.name,
			context.Canceled)
	case err != nil:
		return fmt.Errorf("%s: %w", p.name, err)
	}
	return nil
}

// inside returns the files of a list in a directory, with names relative to it, or beside the file of that name. "" is
// all.
func inside(files []fetch.File, name string) (found []fetch.File, isFile bool) {
	dir := ""
	if name != "" {
		dir = strings.TrimSuffix(name, "/") + "/"
	}
	for _, f := range files {
		if f.Name == name {
			isFile = true
		}
		if rest, ok := strings.CutPrefix(f.Name, dir); ok && rest != "" {
			f.Name = rest
			found = append(found, f)
		}
	}
	if isFile {
		base := path.Dir(name)
		if base == "." {
			return files, true
		}
		found, _ = inside(files, base)
	}
	slices.SortFunc(found, func(a, b fetch.File) int { return cmp.Compare(a.Name, b.Name) })
	return found, isFile
}

// isLocal reports whether a name that a server gave is that of a file in a directory, on every system.
func isLocal(name string) bool {
	return filepath.IsLocal(name) && !strings.ContainsAny(name, "\\:\x00") && path.Clean(name) == name
}

// cacheDir is where files are kept that no other program has a place for.
func cacheDir(parts ...string) (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no place for what is fetched: %w", err)
	}
	return filepath.Join(append([]string{dir, "phi3conv", "sources"}, parts...)...), nil
}

// reader opens nothing that is not there any more.
func gone(name string) func(context.Context, int64, int64) (io.ReadCloser, error) {
	return func(context.Context, int64, int64) (io.ReadCloser, error) {
		return nil, fmt.Errorf("%s is not in the cache: %w", name, fs.ErrNotExist)
	}
}
