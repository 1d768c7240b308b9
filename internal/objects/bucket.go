package objects

import (
	"context"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/phi3conv/phi3conv/internal/atomicfile"
	"github.com/phi3conv/phi3conv/internal/bucket"
)

// Bucket is a store in a bucket of S3, or of a service with its protocol that knows If-None-Match.
type Bucket struct {
	client *bucket.Client
	at     bucket.Name // before all keys
}

// OpenBucket opens the store s3://BUCKET/PREFIX.
func OpenBucket(ctx context.Context, name string) (*Bucket, error) {
	at, err := bucket.Parse(name)
	if err != nil {
		return nil, err
	}
	client, err := bucket.Open(ctx)
	if err != nil {
		return nil, err
	}
	return &Bucket{client, at}, client.HasBucket(ctx, at)
}

func (b *Bucket) String() string { return b.at.String() }

func (b *Bucket) name(key string) bucket.Name {
	return bucket.Name{Bucket: b.at.Bucket, Key: path.Join(b.at.Key, key)}
}

// Create puts an object with the condition that there is none.
func (b *Bucket) Create(ctx context.Context, key string, data []byte) error {
	return b.client.Put(ctx, b.name(key), data, true)
}

// Put puts an object.
func (b *Bucket) Put(ctx context.Context, key string, data []byte) error {
	return b.client.Put(ctx, b.name(key), data, false)
}

// Get gets an object.
func (b *Bucket) Get(ctx context.Context, key string) ([]byte, error) {
	return b.client.Get(ctx, b.name(key))
}

// List lists keys.
func (b *Bucket) List(ctx context.Context, prefix string) (keys []string, err error) {
	from := b.name(prefix)
	if strings.HasSuffix(prefix, "/") {
		from.Key += "/"
	}
	all, err := b.client.List(ctx, from)
	root := strings.TrimSuffix(b.name("x").Key, "x")
	for _, o := range all {
		keys = append(keys, strings.TrimPrefix(o.Key, root))
	}
	return keys, err
}

// Upload sends a file in parts.
func (b *Bucket) Upload(ctx context.Context, key, file string) error {
	return SendFile(ctx, b.client, file, b.name(key))
}

// SendFile sends a file to a bucket.
func SendFile(ctx context.Context, client *bucket.Client, file string, to bucket.Name) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read from
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return client.Send(ctx, to, f, info.Size())
}

// Download reads an object of any size.
func (b *Bucket) Download(ctx context.Context, key, file string) error {
	n := b.name(key)
	o, err := b.client.Stat(ctx, n)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		return err
	}
	w, err := atomicfile.Create(file)
	if err != nil {
		return err
	}
	defer w.Abort()
	if o.Size > 0 {
		r, err := b.client.Range(ctx, n, o.ETag, 0, o.Size)
		if err != nil {
			return err
		}
		defer func() { _ = r.Close() }() // only read from
		if _, err := io.Copy(w, r); err != nil {
			return err
		}
	}
	return w.Commit()
}

// Remove deletes an object.
func (b *Bucket) Remove(ctx context.Context, key string) error {
	return b.client.Remove(ctx, b.name(key))
}
