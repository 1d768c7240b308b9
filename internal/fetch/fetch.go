// Package fetch moves files over a network: into a file on this machine, which is continued after any interruption and
// compared with its hash, or in ranges.
package fetch

import (
	"context"
	"crypto/sha1" // git's hash of a file
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"
	"time"
)

// Errors of transfers, for [errors.Is].
var (
	ErrNetwork = errors.New("network")               // no answer, or an answer that says that something failed
	ErrAccess  = errors.New("access was denied")     // credentials are missing, wrong or not enough
	ErrRefused = errors.New("refused")               // another content than was announced
	errAgain   = errors.New("may work another time") // in the chain of errors after which a request is repeated
)

// Hash is what a file's content must have.
type Hash struct {
	Kind string // [SHA256], [Git], or [ETag], which says nothing about the content
	Hex  string
}

// Kinds of hashes.
const (
	SHA256 = "sha256"
	Git    = "git" // SHA-1 of "blob SIZE\x00" and the content
	ETag   = "etag"
)

func (h Hash) String() string { return h.Kind + ":" + h.Hex }

// digest returns a hash of content of so many bytes, nil where there is nothing to compare with.
func (h Hash) digest(size int64) hash.Hash {
	switch h.Kind {
	case SHA256:
		return sha256.New()
	case Git:
		d := sha1.New() // see above
		_, _ = fmt.Fprintf(d, "blob %d\x00", size)
		return d
	}
	return nil
}

// File is a file that is reached over a network.
type File struct {
	Name string // in its place, with slashes
	Size int64  // bytes
	Hash Hash
	// Range opens n bytes from off on. It may be called from several goroutines.
	Range func(ctx context.Context, off, n int64) (io.ReadCloser, error)
}

// Failures is the number of requests in a row without a byte between them after which a transfer is given up.
const Failures = 5

// Pause is the time before the second request of such a row. It doubles with each.
var Pause = time.Second

// Again calls f until it returns nil, an error that another request does not change, or has failed too often. f
// reports whether it made progress.
func Again(ctx context.Context, f func() (progress bool, err error)) error {
	worth := func(err error) bool { return ctx.Err() == nil && errors.Is(err, errAgain) }
	err := Retry(ctx, Pause, worth, f)
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// Retry calls f until it returns nil, an error that is not worth another call, or has failed too often. f reports
// whether it made progress. pause is the time before the second call of a row that fails; it doubles with each.
func Retry(
	ctx context.Context, pause time.Duration, worth func(error) bool, f func() (progress bool, err error),
) error {
	for n := 0; ; n++ {
		progress, err := f()
		if err == nil || !worth(err) {
			return err
		}
		if progress {
			n = 0
		}
		if n+1 == Failures {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause << n):
		}
	}
}

// Transient marks an error after which a request is worth repeating.
func Transient(err error) error { return fmt.Errorf("%w%w", err, silent{errAgain}) }

// silent is an error in a chain that says nothing.
type silent struct{ error }

func (silent) Error() string   { return "" }
func (s silent) Unwrap() error { return s.error }

// Save completes part, whose first bytes an earlier Save may have written, and compares all of it with the hash. A part
// that turns out wrong is begun again once. progress, if not nil, is called with numbers of bytes that are there, which
// are negative where they turned out wrong.
func (f *File) Save(ctx context.Context, part *os.File, progress func(n int64)) error {
	if progress == nil {
		progress = func(int64) {}
	}
	had, err := f.save(ctx, part, progress)
	if had > 0 && errors.Is(err, ErrRefused) { // the part from before may be wrong, after a power cut for instance
		progress(-f.Size)
		if err := part.Truncate(0); err != nil {
			return err
		}
		_, err = f.save(ctx, part, progress)
	}
	return err
}

func (f *File) save(ctx context.Context, part *os.File, progress func(n int64)) (had int64, err error) {
	info, err := part.Stat()
	if err != nil {
		return 0, err
	}
	if had = info.Size(); had > f.Size {
		had = 0
	}
	if err := part.Truncate(had); err != nil {
		return had, err
	}
	if _, err := part.Seek(0, io.SeekStart); err != nil {
		return had, err
	}
	h := f.Hash.digest(f.Size)
	to := io.Writer(part)
	if h != nil {
		if _, err := Copy(h, contextReader{ctx, io.LimitReader(part, had)}); err != nil {
			return had, err
		}
		to = io.MultiWriter(part, h)
	} else if _, err := part.Seek(had, io.SeekStart); err != nil {
		return had, err
	}
	progress(had)
	for off := had; off < f.Size; {
		err := Again(ctx, func() (bool, error) {
			n, err := f.copyOnce(ctx, to, off, progress)
			off += n
			return n > 0, err
		})
		if err != nil {
			return had, err
		}
	}
	if h != nil {
		if got := hex.EncodeToString(h.Sum(nil)); got != strings.ToLower(f.Hash.Hex) {
			return had, fmt.Errorf("%s: %w: what was sent has the hash %s, expected %s", f.Name, ErrRefused,
				Hash{f.Hash.Kind, got}, f.Hash)
		}
	}
	return had, nil
}

// copyOnce makes one request for what is left from off on.
func (f *File) copyOnce(ctx context.Context, to io.Writer, off int64, progress func(n int64)) (int64, error) {
	r, err := f.Range(ctx, off, f.Size-off)
	if err != nil {
		return 0, err
	}
	defer func() { _ = r.Close() }() // only read from
	w := &watched{w: to, progress: progress}
	n, err := Copy(w, contextReader{ctx, io.LimitReader(r, f.Size-off)})
	switch {
	case w.err != nil: // of the disk
		return n, w.err
	case ctx.Err() != nil:
		return n, ctx.Err()
	case err == nil && n < f.Size-off:
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		err = Transient(fmt.Errorf("%s: %w: after %d of %d bytes: %w", f.Name, ErrNetwork, off+n, f.Size, err))
	}
	return n, err
}

// watched keeps its writer's error apart from that of the reader, and tells how much was written.
type watched struct {
	w        io.Writer
	progress func(n int64)
	err      error
}

func (w *watched) Write(b []byte) (int, error) {
	n, err := w.w.Write(b)
	w.progress(int64(n))
	w.err = err
	return n, err
}

// ReadAt reads len(b) bytes at off with requests of their own.
func (f *File) ReadAt(ctx context.Context, b []byte, off int64) error {
	if off < 0 || int64(len(b)) > f.Size-off {
		return fmt.Errorf("%s: %w: %d bytes at %d of %d", f.Name, io.ErrUnexpectedEOF, len(b), off, f.Size)
	}
	done := 0
	return Again(ctx, func() (bool, error) {
		r, err := f.Range(ctx, off+int64(done), int64(len(b)-done))
		if err != nil {
			return false, err
		}
		defer func() { _ = r.Close() }() // only read from
		n, err := io.ReadFull(r, b[done:])
		done += n
		if err != nil && ctx.Err() == nil {
			err = Transient(fmt.Errorf("%s: %w: at %d: %w", f.Name, ErrNetwork, off+int64(done), err))
		}
		return n > 0, err
	})
}

// ContextReader returns a reader that ends with the context's error when that is done.
func ContextReader(ctx context.Context, r io.Reader) io.Reader { return contextReader{ctx, r} }

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r contextReader) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(b)
}

// Copy is io.Copy through a buffer, so that every piece passes a [ContextReader].
func Copy(w io.Writer, r io.Reader) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, make([]byte, 256<<10))
}
