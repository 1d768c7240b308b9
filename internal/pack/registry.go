package pack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/phi3conv/phi3conv/formats"
	"golang.org/x/sync/errgroup"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/errcode"
	"oras.land/oras-go/v2/registry/remote/retry"
)

// ErrRegistry is in the chain of errors of talking to a registry, but of what it does not have.
var ErrRegistry = errors.New("registry")

// Scheme begins the name of an artifact in a registry.
const Scheme = "oci://"

// Registry is a repository in a registry, and a tag or digest there.
type Registry struct {
	repo         *remote.Repository
	pause        time.Duration // before the second request of a row that fails; it doubles with each
	inOneRequest int64         // bytes of a blob up to which it is sent in one request; a larger one can be continued
}

// RegistryOptions say how to talk to a registry.
type RegistryOptions struct {
	PlainHTTP *bool  // nil: with registries on this machine alone
	UserAgent string // such as "phi3conv/1.0"
}

// OpenRegistry takes a name such as oci://ghcr.io/owner/model:tag. It asks the registry nothing. Credentials are
// those of docker login, from its configuration file and the helpers that it names.
func OpenRegistry(name string, opt RegistryOptions) (*Registry, error) {
	ref, err := registry.ParseReference(strings.TrimPrefix(name, Scheme))
	if err != nil {
		return nil, formats.WrapFile(err, name, "expected oci://HOST/REPOSITORY:TAG")
	}
	if ref.Reference == "" {
		ref.Reference = layoutTag
	}
	client := &auth.Client{Client: retry.DefaultClient, Cache: auth.NewCache()}
	client.SetUserAgent(opt.UserAgent)
	store, err := credentials.NewStoreFromDocker(credentials.StoreOptions{})
	if err == nil {
		client.Credential = credentials.Credential(store)
	} else if _, e := os.UserHomeDir(); e == nil { // without a home there is no configuration
		return nil, fmt.Errorf("docker's configuration: %w", err)
	}
	repo := &remote.Repository{Client: client, Reference: ref, PlainHTTP: isLoopback(ref.Host())}
	if opt.PlainHTTP != nil {
		repo.PlainHTTP = *opt.PlainHTTP
	}
	return &Registry{repo: repo, pause: time.Second, inOneRequest: 4 << 20}, nil
}

// isLoopback reports whether a host, perhaps with a port, is this machine.
func isLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (r *Registry) String() string { return Scheme + r.repo.Reference.String() }

// Name is the repository without the tag.
func (r *Registry) Name() string {
	return r.repo.Reference.Registry + "/" + r.repo.Reference.Repository
}

// HasDigest reports whether the artifact was named by a digest, which always leads to the same, and not by a tag.
func (r *Registry) HasDigest() bool {
	_, err := r.repo.Reference.Digest()
	return err == nil
}

// registryError marks an error of a store that is a registry.
func registryError(s store, err error) error {
	r, ok := s.(*Registry)
	switch {
	case err == nil, !ok, errors.Is(err, ErrRegistry), errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, errdef.ErrNotFound):
		return fmt.Errorf("%s: %w", r.repo.Reference.Host(), err)
	}
	return fmt.Errorf("%w %s: %w", ErrRegistry, r.repo.Reference.Host(), err)
}

// permanent reports whether the registry has answered and will answer the same again.
func permanent(err error) bool {
	var answer *errcode.ErrorResponse
	return errors.As(err, &answer) && answer.StatusCode < 500 &&
		answer.StatusCode != http.StatusRequestTimeout && answer.StatusCode != http.StatusTooManyRequests
}

// Fetch opens a blob or a manifest.
func (r *Registry) Fetch(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	rc, err := r.repo.Fetch(ctx, d)
	return rc, registryError(r, err)
}

// Open finds the artifact and its signature.
func (r *Registry) Open(ctx context.Context) (*Image, error) {
	im, err := r.open(ctx, r.repo.Reference.Reference)
	if errors.Is(err, errdef.ErrNotFound) {
		return nil, formats.WrapFile(errdef.ErrNotFound, r.String(), "")
	}
	if err != nil {
		return nil, formats.WithPath(err, r.String())
	}
	im.Signature, err = r.signature(ctx, im.Desc.Digest)
	return im, err
}

func (r *Registry) open(ctx context.Context, reference string) (*Image, error) {
	d, err := r.resolve(ctx, reference)
	if err != nil {
		return nil, registryError(r, err)
	}
	return fetchImage(ctx, r, d)
}

// resolve asks for a manifest's digest. A registry need not tell it, and need not answer HEAD: then the manifest is
// hashed.
func (r *Registry) resolve(ctx context.Context, reference string) (ocispec.Descriptor, error) {
	d, err := r.repo.Resolve(ctx, reference)
	var answer *errcode.ErrorResponse
	answered := errors.As(err, &answer) && answer.StatusCode != http.StatusMethodNotAllowed
	if err == nil || answered || errors.Is(err, errdef.ErrNotFound) || ctx.Err() != nil {
		return d, err
	}
	d, rc, e := r.repo.FetchReference(ctx, reference)
	if e != nil {
		return d, err
	}
	return d, rc.Close()
}

// signature returns the signatures of a manifest that the registry has, or nil.
func (r *Registry) signature(ctx context.Context, d digest.Digest) (*Image, error) {
	im, err := r.open(ctx, signatureTag(d))
	if errors.Is(err, errdef.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("signature: %w", err)
	}
	return im, nil
}

// Push sends the artifact: first the blobs that the registry lacks, then the manifest, then the signature, added
// to those that the registry has.
func (im *Image) Push(ctx context.Context, r *Registry, progress func(done int64)) error {
	if r.HasDigest() {
		return formats.WithPath(formats.Errorf(-1, "a digest, expected a tag"), r.String())
	}
	done := &counter{report: progress}
	if err := r.push(ctx, im, r.repo.Reference.Reference, done); err != nil || im.Signature == nil {
		return err
	}
	there, err := r.signature(ctx, im.Desc.Digest)
	if err != nil {
		return err
	}
	merged, err := signatureImage(ctx, localStore{}, nil, there)
	if err == nil {
		merged, err = signatureImage(ctx, merged.store.(localStore), merged.Manifest.Layers, im.Signature)
	}
	if err != nil {
		return err
	}
	return r.push(ctx, merged, signatureTag(im.Desc.Digest), done)
}

func (r *Registry) push(ctx context.Context, im *Image, tag string, done *counter) error {
	g, group := errgroup.WithContext(ctx)
	g.SetLimit(transfers)
	for _, d := range im.blobs() {
		g.Go(func() error { return r.pushBlob(group, located{d, im.store}, done) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	err := r.repo.PushReference(ctx, im.Desc, bytes.NewReader(im.raw), tag)
	return registryError(r, err)
}
