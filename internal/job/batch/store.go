package batch

import (
	"context"
	"strings"

	"github.com/phi3conv/phi3conv/internal/objects"
	"github.com/phi3conv/phi3conv/internal/usage"
)

// OpenStore opens the store that a batch file names.
func OpenStore(_ context.Context, name string) (objects.Store, error) {
	if strings.Contains(name, "://") {
		return nil, usage.Errorf("store: %s, expected a directory", name)
	}
	return objects.Dir(name), nil
}

// CopyFile puts a file under a name that [Spec.Publish] gives.
func CopyFile(_ context.Context, file, to string) error {
	if strings.Contains(to, "://") {
		return usage.Errorf("publish: %s, expected a path or oci://…", to)
	}
	return objects.CopyFile(file, to)
}
