package pack

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/atomicfile"
	"github.com/phi3conv/phi3conv/internal/fetch"
	"github.com/phi3conv/phi3conv/internal/output"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/internal/work"
	"golang.org/x/sync/errgroup"
)

// transfers is the number of blobs that are read or sent at the same time.
const transfers = 4

// again calls f, which reads from s or writes to it, until it returns nil, an error that is none of a registry, or has
// failed too often. f reports whether it made progress.
func again(ctx context.Context, s store, f func() (progress bool, err error)) error {
	var pause time.Duration
	if r, ok := s.(*Registry); ok { // no other store's errors are tried again
		pause = r.pause
	}
	worth := func(err error) bool {
		return errors.Is(err, ErrRegistry) && !errors.Is(err, ErrRefused) && !permanent(err)
	}
	return fetch.Retry(ctx, pause, worth, f)
}

// stream writes a blob from offset off on, and compares its hash with the digest. h has hashed what comes before. After
// an interruption by the registry it continues where it stopped.
func stream(ctx context.Context, b located, off int64, w io.Writer, h hash.Hash, done *counter) error {
	if h == nil {
		h = sha256.New()
	}
	for off < b.Size {
		err := again(ctx, b.store, func() (progress bool, err error) {
			n, err := streamOnce(ctx, b, off, io.MultiWriter(w, h, done))
			off += n
			return n > 0, err
		})
		if err != nil {
			return err
		}
	}
	if got := digest.NewDigest(digest.SHA256, h); got != b.Digest {
		return refusef("%s has the SHA-256 %s", b.Digest, got.Encoded())
	}
	return nil
}

func streamOnce(ctx context.Context, b located, off int64, w io.Writer) (int64, error) {
	r, err := b.store.Fetch(ctx, b.Descriptor)
	if err != nil {
		return 0, err
	}
	defer func() { _ = r.Close() }() // only read from
	if s, ok := r.(io.Seeker); ok && off > 0 {
		_, err = s.Seek(off, io.SeekStart)
	} else {
		_, err = io.CopyN(io.Discard, r, off)
	}
	if err != nil {
		return 0, registryError(b.store, err)
	}
	var failed error // of w
	n, err := fetch.Copy(writerFunc(func(p []byte) (int, error) {
		var n int
		n, failed = w.Write(p)
		return n, failed
	}), fetch.ContextReader(ctx, io.LimitReader(r, b.Size-off)))
	switch {
	case failed != nil:
		return n, failed
	case ctx.Err() != nil:
		return n, ctx.Err()
	case err == nil && n < b.Size-off:
		if _, remote := b.store.(*Registry); !remote {
			return n, refusef("%s ends after %d of %d bytes", b.Digest, off+n, b.Size)
		}
		err = io.ErrUnexpectedEOF
	}
	return n, registryError(b.store, err)
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// job is a blob that is to become a file.
type job struct {
	located
	path string
}

// partID says which blob a part of a file is of.
func (j *job) partID() string { return j.Digest.Encoded()[:12] }

// remaining leaves out files that are there with the right content. One with other content is refused without force,
// and so are files for which there is no space.
func remaining(ctx context.Context, jobs []job, force bool, done *counter) (rest []job, err error) {
	var need int64
	for _, j := range jobs {
		info, err := os.Stat(j.path)
		there := err == nil && info.Mode().IsRegular() && info.Size() > 0
		if there && info.Size() == j.Size {
			same, err := j.isAt(ctx)
			if err != nil {
				return nil, err
			}
			if same {
				done.add(j.Size)
				continue
			}
		}
		if there && !force {
			return nil, usage.Errorf("%s exists with other content: choose another directory, or --force to replace it",
				j.path)
		}
		rest = append(rest, j)
		need += max(0, j.Size-atomicfile.Part(j.path, j.partID()))
	}
	if len(rest) == 0 {
		return nil, nil
	}
	return rest, output.Room(rest[0].path, need)
}

// saveAll writes blobs to files, several at a time.
func saveAll(ctx context.Context, jobs []job, done *counter) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(transfers)
	for _, j := range jobs {
		g.Go(func() error { return j.save(ctx, done) })
	}
	return g.Wait()
}

// save writes the blob to its file. A part of one, which this or an earlier process left, is continued.
func (j job) save(ctx context.Context, done *counter) error {
	f, err := atomicfile.Resume(j.path, j.partID())
	if err != nil {
		return err
	}
	defer f.Abort()
	h := sha256.New()
	off, err := fetch.Copy(h, fetch.ContextReader(ctx, f))
	if err != nil {
		return err
	}
	for {
		if off > j.Size {
			if off, err = 0, restart(f, h); err != nil {
				return err
			}
		}
		done.add(off)
		err = stream(ctx, j.located, off, f, h, done)
		if off > 0 && errors.Is(err, ErrRefused) { // the part from before may be wrong, for instance after a power cut
			done.add(-j.Size)
			off = j.Size + 1
			continue
		}
		break
	}
	if errors.Is(err, ErrRefused) {
		f.Discard()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", j.path, err)
	}
	return f.Commit()
}

// restart empties a file.
func restart(f *atomicfile.File, h hash.Hash) error {
	h.Reset()
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.Seek(0, io.SeekStart)
	return err
}

// isAt reports whether the file has the blob's content.
func (j job) isAt(ctx context.Context) (bool, error) {
	f, err := os.Open(j.path)
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }() // only read from
	h := sha256.New()
	if _, err := fetch.Copy(h, fetch.ContextReader(ctx, f)); err != nil {
		return false, err
	}
	return digest.NewDigest(digest.SHA256, h) == j.Digest, nil
}

// Unpack writes the files of an artifact into a directory, which it makes if needed. Without force, files that are
// there with other content are refused.
func (im *Image) Unpack(ctx context.Context, dir string, force bool, progress func(done int64)) ([]Layer, error) {
	layers, err := im.Layers()
	if err != nil {
		return nil, err
	}
	if len(layers) == 0 {
		return nil, formats.Errorf(-1, "%s has no layers", im.Desc.Digest)
	}
	source := ""
	if s, ok := im.store.(layoutStore); ok {
		source = s.path
	}
	jobs := make([]job, len(layers))
	for i, l := range layers {
		path := filepath.Join(dir, filepath.FromSlash(l.Name))
		if source != "" && (work.IsOneOf(dir, []string{source}) || work.IsOneOf(path, []string{source})) {
			return nil, usage.Errorf("output %s is a file of the input %s", path, source)
		}
		jobs[i] = job{located{l.Descriptor, im.store}, path}
	}
	for _, j := range jobs {
		if err := os.MkdirAll(filepath.Dir(j.path), 0o777); err != nil {
			return nil, err
		}
	}
	done := &counter{report: progress}
	if jobs, err = remaining(ctx, jobs, force, done); err != nil {
		return nil, err
	}
	return layers, continues(saveAll(ctx, jobs, done))
}
