package pmap

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/phi3conv/phi3conv/formats"
	"golang.org/x/sync/errgroup"
)

// checksum returns the CRC-32C of b.
func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// treeBytes returns the length of the section sha256 if it begins at offset end: a root, and a leaf for each chunk
// before it.
func treeBytes(end int64) int64 {
	return sha256.Size * (1 + (end+chunkBytes-1)/chunkBytes)
}

// root returns the hash of the leaves and of n, the number of bytes that they are of.
func root(leaves []byte, n int64) []byte {
	h := sha256.New()
	_, _ = h.Write([]byte("pmap tree 1\x00")) // a Hash never fails
	_, _ = h.Write(le.AppendUint64(nil, uint64(n)))
	_, _ = h.Write(leaves)
	return h.Sum(nil)
}

// leaves hashes the chunks of the first end bytes.
func (f *File) leaves(threads int, end int64) ([]byte, error) {
	n := int((end + chunkBytes - 1) / chunkBytes)
	all := make([]byte, n*sha256.Size)
	err := parallel(threads, n, func(i int) error {
		sum, err := f.leaf(i, end)
		copy(all[i*sha256.Size:], sum[:])
		return err
	})
	return all, err
}

var chunks = sync.Pool{New: func() any { return new([chunkBytes]byte) }}

// leaf returns the hash of chunk i; the last chunk ends at offset end.
func (f *File) leaf(i int, end int64) (sum [sha256.Size]byte, err error) {
	b := chunks.Get().(*[chunkBytes]byte)
	defer chunks.Put(b)
	off := int64(i) * chunkBytes
	part := b[:min(chunkBytes, end-off)]
	if err := f.read(part, off); err != nil {
		return sum, err
	}
	return sha256.Sum256(part), nil
}

// Root returns the hash of the file that its section sha256 holds, the root of the hash tree. It covers every byte
// before that section. [File.Check] tells whether they still have it.
func (f *File) Root() ([sha256.Size]byte, error) {
	var sum [sha256.Size]byte
	s, ok := f.Section(sectionSHA256)
	if !ok || s.Len != treeBytes(s.Offset) {
		return sum, &formats.Error{
			Path: f.Path, Off: s.Offset,
			What: fmt.Sprintf("section sha256 has %d bytes, expected %d", s.Len, treeBytes(s.Offset)), Err: ErrDamaged,
		}
	}
	return sum, formats.WithPath(f.read(sum[:], s.Offset), f.Path)
}

// Check reads the whole file and compares it with its checksums, on several threads. The
// error joins one *formats.Error for each damaged chunk, which names the sections and
// tensors that it belongs to. progress, if not nil, is called with the bytes done, from any thread.
func (f *File) Check(ctx context.Context, threads int, progress func(done int64)) error {
	want, err := f.Root()
	if err != nil {
		return err
	}
	s, _ := f.Section(sectionSHA256)
	tree := make([]byte, s.Len)
	if err := f.read(tree, s.Offset); err != nil {
		return formats.WithPath(err, f.Path)
	}
	leaves := tree[sha256.Size:]
	if !bytes.Equal(root(leaves, s.Offset), want[:]) {
		return &formats.Error{
			Path: f.Path, Off: s.Offset, What: "the hashes of the file's chunks do not agree with their own hash",
			Err: ErrDamaged,
		}
	}
	var done atomic.Int64
	bad := make([]error, len(leaves)/sha256.Size)
	// Twice as many as there are threads: some read while others hash.
	err = parallel(2*threads, len(bad), func(i int) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		sum, err := f.leaf(i, s.Offset)
		if err != nil {
			return err
		}
		if !bytes.Equal(sum[:], leaves[i*sha256.Size:(i+1)*sha256.Size]) {
			bad[i] = f.damage(int64(i)*chunkBytes, min(int64(i+1)*chunkBytes, s.Offset))
		}
		if n := done.Add(chunkBytes); progress != nil {
			progress(min(n, s.Offset))
		}
		return nil
	})
	if err != nil {
		return formats.WithPath(err, f.Path)
	}
	return errors.Join(bad...)
}

// damage returns an error that names what is damaged between two offsets: the tensors and sections whose own checksums
// are wrong, or all that lie there if none is.
func (f *File) damage(from, to int64) error {
	overlaps := func(off, n int64) bool { return off < to && from < off+n }
	var all, wrong []string
	add := func(name string, off, n int64, crc uint32) {
		all = append(all, name)
		if got, err := f.crc(off, n); err == nil && got != crc {
			wrong = append(wrong, name)
		}
	}
	for _, s := range f.Sections {
		if s.Flags&flagOwn == 0 && overlaps(s.Offset, s.Len) {
			add("section "+s.Name, s.Offset, s.Len, s.CRC)
		}
	}
	for i := range f.Tensors {
		if t := &f.Tensors[i]; overlaps(t.Position, t.Len) {
			add("tensor "+t.Name, t.Position, t.Len, t.CRC)
		}
	}
	if wrong != nil {
		all = wrong
	} else {
		all = append(all, "padding")
	}
	return &formats.Error{
		Path: f.Path, Off: from,
		What: fmt.Sprintf("%s: the hash of bytes %d to %d is wrong", strings.Join(all, ", "), from, to-1),
		Err:  ErrDamaged,
	}
}

// parallel calls do for 0 to n-1 on several threads, and returns the first error.
func parallel(threads, n int, do func(i int) error) error {
	g, ctx := errgroup.WithContext(context.Background())
	g.SetLimit(max(1, threads))
	for i := 0; i < n && ctx.Err() == nil; i++ {
		g.Go(func() error { return do(i) })
	}
	return g.Wait()
}
