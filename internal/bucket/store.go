package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/phi3conv/phi3conv/internal/atomicfile"
)

// Store writes objects for package atomicfile. Requests end with its context. The configuration is read when the first
// object is written.
type Store struct {
	ctx    context.Context // files that are written have none
	client *Client
}

// NewStore makes a store.
func NewStore(ctx context.Context) *Store { return &Store{ctx: ctx} }

// open takes an object's name.
func (s *Store) open(path string) (n Name, err error) {
	if n, err = Parse(path); err == nil && (n.Key == "" || n.Key[len(n.Key)-1] == '/') {
		err = fmt.Errorf("%s: expected s3://BUCKET/KEY, the name of an object", path)
	}
	if err == nil && s.client == nil {
		s.client, err = Open(s.ctx)
	}
	return n, err
}

// Beginning returns up to count bytes of an object, nil if there is none.
func (s *Store) Beginning(path string, count int) ([]byte, error) {
	n, err := s.open(path)
	if err != nil {
		return nil, err
	}
	o, err := s.client.Stat(s.ctx, n)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, s.client.HasBucket(s.ctx, n)
	}
	if err != nil || o.Size == 0 {
		return nil, err
	}
	r, err := s.client.Range(s.ctx, n, o.ETag, 0, min(o.Size, int64(count)))
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }() // only read from
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, explain(n, err)
	}
	return b, nil
}

// Send makes size bytes of r an object.
func (s *Store) Send(path string, r io.ReaderAt, size int64) error {
	n, err := s.open(path)
	if err != nil {
		return err
	}
	return s.client.Send(s.ctx, n, r, size)
}

// Create starts an object of size bytes.
func (s *Store) Create(path string, size int64) (atomicfile.Object, error) {
	n, err := s.open(path)
	if err != nil {
		return nil, err
	}
	return s.client.Create(s.ctx, n, size)
}
