package pack

import (
	"context"
	"crypto"
	"path/filepath"
	"strings"

	"github.com/phi3conv/phi3conv/internal/atomicfile"
	"github.com/phi3conv/phi3conv/internal/work"
)

// Target is where an artifact goes: a registry, a tar file or a directory.
type Target struct {
	registry *Registry
	path     string
}

// OpenTarget takes oci://HOST/REPOSITORY:TAG, or the name of a .tar file or of a directory.
func OpenTarget(name string, opt RegistryOptions) (Target, error) {
	if !strings.HasPrefix(name, Scheme) {
		return Target{path: name}, nil
	}
	r, err := OpenRegistry(name, opt)
	return Target{registry: r}, err
}

// IsTar reports whether a name is that of a tar file, or standard output.
func IsTar(name string) bool {
	return strings.EqualFold(filepath.Ext(name), ".tar") || name == atomicfile.Stdout
}

// InRegistry reports whether the target is in a registry.
func (t Target) InRegistry() bool { return t.registry != nil }

func (t Target) String() string {
	if t.registry != nil {
		return t.registry.String()
	}
	return t.path
}

// SignFor signs the artifact with the name that it has at the target, see [Image.Sign].
func (im *Image) SignFor(ctx context.Context, key crypto.Signer, to Target) error {
	if to.registry != nil {
		return im.Sign(ctx, key, to.registry.Name())
	}
	return im.Sign(ctx, key, "")
}

// Send writes the artifact to a directory or file, or sends it to a registry. progress is called with the bytes
// done of [Image.Size].
func (im *Image) Send(ctx context.Context, to Target, progress func(done int64)) error {
	switch {
	case to.registry != nil:
		return continues(im.Push(ctx, to.registry, progress))
	case IsTar(to.path):
		return work.Interrupted(im.WriteTar(ctx, to.path, progress), ", %s was not written", to.path)
	}
	return continues(im.WriteLayout(ctx, to.path, progress))
}

// continues says that of a transfer that was interrupted.
func continues(err error) error {
	return work.Interrupted(err, "; what was transferred is kept, and the same command continues")
}
