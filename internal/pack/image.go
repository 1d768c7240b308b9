// Package pack puts models into OCI artifacts and takes them out: image layouts in a directory or a
// tar file, and registries. docs/pack.md describes the artifacts.
//
// Nothing that comes from elsewhere is believed: a blob gets its final name after its SHA-256 was
// compared with the digest by which the manifest calls it, and the manifest's with the one that was
// asked for or signed.
package pack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/phi3conv/phi3conv/formats"
)

// ErrRefused is in the chain of errors that say that content is not what its digest or a signature
// says, or that a signature is missing.
var ErrRefused = errors.New("refused")

func refusef(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrRefused, fmt.Errorf(format, args...))
}

// maxDocument limits manifests, configurations and signed payloads, in bytes. Registries limit manifests to the same.
const maxDocument = 4 << 20

// mediaTypeDockerManifest is what older tools write in place of an OCI image manifest.
const mediaTypeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"

// Image is an artifact: a manifest, and where the blobs are that it names.
type Image struct {
	Desc      ocispec.Descriptor // the manifest
	Manifest  ocispec.Manifest
	Signature *Image // cosign's, or nil

	name  string // what a signature calls it, where no registry gives it a name
	raw   []byte
	store store
}

// store is where the blobs of an artifact are. What Fetch returns is an [io.Seeker] where that
// saves reading what is skipped.
type store interface {
	Fetch(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error)
}

// newImage makes an artifact of a manifest and the blobs in store.
func newImage(s localStore, m ocispec.Manifest, name string) (*Image, error) {
	raw, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	d := s.add(m.MediaType, raw)
	d.ArtifactType = m.ArtifactType
	return &Image{Desc: d, Manifest: m, name: name, raw: raw, store: s}, nil
}

// fetchImage reads a manifest.
func fetchImage(ctx context.Context, s store, d ocispec.Descriptor) (*Image, error) {
	if d.MediaType == ocispec.MediaTypeImageIndex || d.MediaType == mediaTypeDockerList {
		one, err := onlyManifest(ctx, s, d)
		if err != nil {
			return nil, err
		}
		d = one
	}
	if d.MediaType != ocispec.MediaTypeImageManifest && d.MediaType != mediaTypeDockerManifest {
		return nil, formats.Errorf(-1, "%s is of type %q, expected %q",
			d.Digest, d.MediaType, ocispec.MediaTypeImageManifest)
	}
	raw, err := readBlob(ctx, s, d)
	if err != nil {
		return nil, err
	}
	im := &Image{Desc: d, raw: raw, store: s}
	if err := json.Unmarshal(raw, &im.Manifest); err != nil {
		return nil, formats.Wrapf(err, -1, "manifest %s is not JSON of a manifest", d.Digest)
	}
	if t := im.Manifest.MediaType; t != "" && t != d.MediaType {
		return nil, formats.Errorf(-1, "manifest %s says that it is of type %q, its descriptor says %q",
			d.Digest, t, d.MediaType)
	}
	im.Desc.ArtifactType = im.Manifest.ArtifactType
	for _, b := range im.blobs() {
		if err := checkDescriptor(b); err != nil {
			return nil, fmt.Errorf("manifest %s: %w", d.Digest, err)
		}
	}
	return im, nil
}

// mediaTypeDockerList is Docker's name of an index.
const mediaTypeDockerList = "application/vnd.docker.distribution.manifest.list.v2+json"

// onlyManifest returns the manifest of an index that has one, attestations apart: a model is for all platforms.
func onlyManifest(ctx context.Context, s store, d ocispec.Descriptor) (ocispec.Descriptor, error) {
	raw, err := readBlob(ctx, s, d)
	if err != nil {
		return d, err
	}
	var index ocispec.Index
	if err := json.Unmarshal(raw, &index); err != nil {
		return d, formats.Wrapf(err, -1, "index %s is not JSON of an index", d.Digest)
	}
	all := slices.DeleteFunc(index.Manifests, func(m ocispec.Descriptor) bool {
		return m.Annotations["vnd.docker.reference.type"] != ""
	})
	if len(all) != 1 {
		var digests []string
		for _, m := range all {
			digests = append(digests, m.Digest.String())
		}
		return d, formats.Errorf(-1,
			"%s is an index of %d manifests, expected one; name one by its digest, NAME@DIGEST: %s", d.Digest,
			len(all), strings.Join(digests, ", "))
	}
	return all[0], nil
}

// readBlob reads a small blob.
func readBlob(ctx context.Context, s store, d ocispec.Descriptor) ([]byte, error) {
	if err := checkDescriptor(d); err != nil {
		return nil, err
	}
	if d.Size > maxDocument {
		return nil, formats.Errorf(-1, "%s has %d bytes, at most %d are read", d.Digest, d.Size, maxDocument)
	}
	rc, err := s.Fetch(ctx, d)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rc.Close() }() // only read from
	data, err := io.ReadAll(io.LimitReader(rc, d.Size+1))
	if err != nil {
		return nil, err
	}
	if got := digest.FromBytes(data); got != d.Digest {
		return nil, refusef("%s has the SHA-256 %s", d.Digest, got.Encoded())
	}
	return data, nil
}

func checkDescriptor(d ocispec.Descriptor) error {
	if err := d.Digest.Validate(); err != nil || d.Digest.Algorithm() != digest.SHA256 {
		return formats.Errorf(-1, "digest %q, expected sha256: and 64 hexadecimal digits", d.Digest)
	}
	if d.Size < 0 {
		return formats.Errorf(-1, "%s has a size of %d bytes", d.Digest, d.Size)
	}
	return nil
}

// blobs lists what the manifest names, each once.
func (im *Image) blobs() []ocispec.Descriptor {
	var list []ocispec.Descriptor
	seen := map[digest.Digest]bool{}
	for _, d := range append(slices.Clone(im.Manifest.Layers), im.Manifest.Config) {
		if !seen[d.Digest] {
			seen[d.Digest] = true
			list = append(list, d)
		}
	}
	return list
}

// Size returns the bytes of all blobs.
func (im *Image) Size() int64 {
	var n int64
	for _, d := range im.blobs() {
		n += d.Size
	}
	return n
}

// Layer is a file in an artifact.
type Layer struct {
	ocispec.Descriptor
	Name string // slash-separated, below the directory of the model
	Role Role   // empty where the artifact does not tell
}

// Layers lists the files. Archives and names that lead out of the model's directory are refused.
func (im *Image) Layers() ([]Layer, error) {
	var list []Layer
	seen := map[string]bool{}
	for i, d := range im.Manifest.Layers {
		l := Layer{Descriptor: d, Name: d.Annotations[annotationPath], Role: Role(d.Annotations[annotationRole])}
		if l.Name == "" {
			l.Name = d.Annotations[ocispec.AnnotationTitle]
		}
		for _, r := range roles {
			if l.Role == "" && (d.MediaType == r.cncf || d.MediaType == r.docker) {
				l.Role = r.role
			}
		}
		if l.Name == "" && d.MediaType == dockerLicense {
			l.Name = "LICENSE"
		}
		if l.Name == "" && d.MediaType == dockerGGUF { // Docker's own tools name no files
			l.Name = "model.gguf"
		}
		if l.Name == "" {
			return nil, formats.Errorf(-1, "layer %d, %s of type %q, has no name: expected an annotation %s",
				i, d.Digest, d.MediaType, annotationPath)
		}
		if strings.Contains(d.MediaType, ".tar") {
			return nil, formats.Errorf(-1, "layer %d, %s, is an archive of type %q: only single files are unpacked",
				i, l.Name, d.MediaType)
		}
		if err := checkName(l.Name); err != nil {
			return nil, err
		}
		if key := strings.ToLower(l.Name); seen[key] {
			return nil, formats.Errorf(-1, "two layers have the name %s", l.Name)
		} else {
			seen[key] = true
		}
		list = append(list, l)
	}
	return list, nil
}

// checkName refuses names that are not those of a visible file below a directory, on any system.
func checkName(name string) error {
	ok := filepath.IsLocal(filepath.FromSlash(name)) && len(name) <= 1024 && !strings.ContainsAny(name, `\:*?"<>|`) &&
		!strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) })
	for part := range strings.SplitSeq(name, "/") {
		ok = ok && part != "" && !strings.HasPrefix(part, ".") && strings.TrimRight(part, ". ") == part
	}
	if !ok {
		return formats.Errorf(-1, "file name %q is refused: expected one below the model's directory, "+
			"without hidden parts or special characters", name)
	}
	return nil
}

// counter adds up bytes from several goroutines and reports the sum.
type counter struct {
	mu     sync.Mutex
	n      int64
	report func(done int64)
}

func (c *counter) add(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n += n
	if c.report != nil {
		c.report(c.n)
	}
}

func (c *counter) Write(p []byte) (int, error) {
	c.add(int64(len(p)))
	return len(p), nil
}
