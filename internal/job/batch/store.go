package batch

import (
	"context"
	"strings"

	"github.com/phi3conv/phi3conv/internal/bucket"
	"github.com/phi3conv/phi3conv/internal/objects"
	"github.com/phi3conv/phi3conv/internal/usage"
)

// checkStore refuses a name that is that of no store.
func checkStore(name string) error {
	if isURL(name) && !strings.HasPrefix(name, bucket.Scheme) {
		return usage.Errorf("store: %s, expected a directory or s3://BUCKET/PREFIX", name)
	}
	return nil
}

// OpenStore opens the store that a batch file names.
func OpenStore(ctx context.Context, name string) (objects.Store, error) {
	if strings.HasPrefix(name, bucket.Scheme) {
		return objects.OpenBucket(ctx, name)
	}
	return objects.Dir(name), nil
}

// CopyFile puts a file under a name that [Spec.Publish] gives.
func CopyFile(ctx context.Context, file, to string) error {
	if !strings.HasPrefix(to, bucket.Scheme) {
		return objects.CopyFile(file, to)
	}
	n, err := bucket.Parse(to)
	if err != nil {
		return err
	}
	client, err := bucket.Open(ctx)
	if err != nil {
		return err
	}
	return objects.SendFile(ctx, client, file, n)
}
