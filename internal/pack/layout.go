package pack

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/atomicfile"
	"github.com/phi3conv/phi3conv/internal/output"
)

// layoutTag is the tag of the model in an image layout.
const layoutTag = "latest"

// Annotations by which cosign finds its way in an image layout.
const (
	cosignKind  = "kind"
	cosignImage = "dev.cosignproject.cosign/image"
	cosignSigs  = "dev.cosignproject.cosign/sigs"
)

// layoutStore is an image layout. open opens a file of it by its slash-separated name.
type layoutStore struct {
	path string // of the directory or tar file
	open func(name string) (io.ReadSeekCloser, error)
}

// Fetch opens a blob.
func (s layoutStore) Fetch(_ context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	return s.open(blobName(d))
}

// blobName is the place of a blob in an image layout. The descriptor has been checked.
func blobName(d ocispec.Descriptor) string {
	return path.Join("blobs", d.Digest.Algorithm().String(), d.Digest.Encoded())
}

// OpenLayout opens the artifact in an image layout, a directory or a tar file of one.
func OpenLayout(ctx context.Context, src string) (*Image, error) {
	info, err := os.Stat(src)
	if err != nil {
		return nil, err
	}
	s := layoutStore{path: src, open: func(name string) (io.ReadSeekCloser, error) {
		return os.Open(filepath.Join(src, filepath.FromSlash(name)))
	}}
	if !info.IsDir() {
		if s, err = tarStore(src); err != nil {
			return nil, err
		}
	}
	im, err := openLayout(ctx, s)
	return im, formats.WithPath(err, src)
}

// tarStore reads the headers of a tar file.
func tarStore(name string) (s layoutStore, err error) {
	f, err := os.Open(name)
	if err != nil {
		return s, err
	}
	defer func() { _ = f.Close() }() // only read from
	s.path = name
	type span struct{ off, size int64 }
	files := map[string]span{}
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return s, formats.WrapFile(err, name, "not a tar file of an image layout")
		}
		off, err := f.Seek(0, io.SeekCurrent)
		if err != nil {
			return s, err
		}
		if h.Typeflag == tar.TypeReg {
			files[path.Clean(h.Name)] = span{off, h.Size}
		}
	}
	s.open = func(entry string) (io.ReadSeekCloser, error) {
		at, ok := files[entry]
		if !ok {
			return nil, &fs.PathError{Op: "open", Path: name + ":" + entry, Err: fs.ErrNotExist}
		}
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		return section{io.NewSectionReader(f, at.off, at.size), f}, nil
	}
	return s, nil
}

// section is a part of a file.
type section struct {
	io.ReadSeeker
	io.Closer
}

func openLayout(ctx context.Context, s layoutStore) (*Image, error) {
	f, err := s.open(ocispec.ImageIndexFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, formats.Errorf(-1, "not an image layout: it has no %s", ocispec.ImageIndexFile)
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	data, err := io.ReadAll(io.LimitReader(f, maxDocument+1))
	if err != nil {
		return nil, err
	}
	var index ocispec.Index
	if len(data) > maxDocument {
		err = fmt.Errorf("more than %d bytes", maxDocument)
	} else {
		err = json.Unmarshal(data, &index)
	}
	if err != nil {
		return nil, formats.Wrapf(err, -1, "%s", ocispec.ImageIndexFile)
	}
	var models, tagged []ocispec.Descriptor
	signatures := map[string]ocispec.Descriptor{}
	for _, d := range index.Manifests {
		tag := d.Annotations[ocispec.AnnotationRefName]
		if strings.HasPrefix(tag, "sha256-") && strings.HasSuffix(tag, ".sig") {
			signatures[tag] = d
			continue
		}
		models = append(models, d)
		if tag == layoutTag {
			tagged = append(tagged, d)
		}
	}
	if len(models) != 1 {
		models = tagged
	}
	if len(models) != 1 {
		return nil, formats.Errorf(-1, "the image layout has %d artifacts, expected one, or one with the tag %s",
			len(index.Manifests)-len(signatures), layoutTag)
	}
	im, err := fetchImage(ctx, s, models[0])
	if err != nil {
		return nil, err
	}
	if d, ok := signatures[signatureTag(im.Desc.Digest)]; ok {
		if im.Signature, err = fetchImage(ctx, s, d); err != nil {
			return nil, fmt.Errorf("signature: %w", err)
		}
	}
	return im, nil
}

// index describes the artifact and its signature.
func (im *Image) index() ([]byte, error) {
	entry := func(d ocispec.Descriptor, tag, kind string) ocispec.Descriptor {
		d = ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, ArtifactType: d.ArtifactType}
		d.Annotations = map[string]string{ocispec.AnnotationRefName: tag}
		if im.Signature != nil {
			d.Annotations[cosignKind] = kind
		}
		return d
	}
	index := ocispec.Index{
		MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{entry(im.Desc, layoutTag, cosignImage)},
	}
	index.SchemaVersion = 2
	if im.Signature != nil {
		index.Manifests = append(index.Manifests, entry(im.Signature.Desc, signatureTag(im.Desc.Digest), cosignSigs))
	}
	return json.Marshal(index)
}

// layoutMark is the content of the file oci-layout.
var layoutMark = []byte(`{"imageLayoutVersion":"` + ocispec.ImageLayoutVersion + `"}`)

// all lists the blobs of the artifact and its signature, manifests included, with their stores.
func (im *Image) all() (list []located) {
	for _, d := range im.blobs() {
		list = append(list, located{d, im.store})
	}
	list = append(list, located{im.Desc, localBytes(im.raw)})
	if im.Signature != nil {
		list = append(list, im.Signature.all()...)
	}
	return list
}

type located struct {
	ocispec.Descriptor
	store store
}

// localBytes is a store of one blob.
type localBytes []byte

// Fetch opens the blob.
func (b localBytes) Fetch(context.Context, ocispec.Descriptor) (io.ReadCloser, error) {
	return nopCloser{bytes.NewReader(b)}, nil
}

// WriteLayout writes an image layout into a directory. Blobs that are there stay; index.json comes last. A directory
// that holds another artifact is refused.
func (im *Image) WriteLayout(ctx context.Context, dir string, progress func(done int64)) error {
	if old, err := OpenLayout(ctx, dir); err == nil {
		if old.Desc.Digest != im.Desc.Digest {
			return formats.FileErrorf(dir, -1, "holds another artifact, %s: remove it or choose another directory",
				old.Desc.Digest)
		}
	} else if entries, e := os.ReadDir(dir); e == nil && len(entries) > 0 {
		if _, e := os.Stat(filepath.Join(dir, "blobs")); e != nil {
			return formats.FileErrorf(dir, -1, "is neither empty nor an image layout")
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o777); err != nil {
		return err
	}
	var jobs []job
	for _, b := range im.all() {
		jobs = append(jobs, job{b, filepath.Join(dir, filepath.FromSlash(blobName(b.Descriptor)))})
	}
	slices.SortFunc(jobs, func(a, b job) int { return strings.Compare(a.path, b.path) })
	jobs = slices.CompactFunc(jobs, func(a, b job) bool { return a.path == b.path })
	done := &counter{report: progress}
	jobs, err := remaining(ctx, jobs, true, done) // a blob with other content is damaged
	if err != nil {
		return err
	}
	if err := saveAll(ctx, jobs, done); err != nil {
		return err
	}
	index, err := im.index()
	if err != nil {
		return err
	}
	if err := atomicfile.WriteFile(filepath.Join(dir, ocispec.ImageLayoutFile), layoutMark); err != nil {
		return err
	}
	return atomicfile.WriteFile(filepath.Join(dir, ocispec.ImageIndexFile), index)
}

// WriteTar writes an image layout as a tar file. Its bytes depend on the artifact alone.
func (im *Image) WriteTar(ctx context.Context, name string, progress func(done int64)) error {
	index, err := im.index()
	if err != nil {
		return err
	}
	if err := output.Room(name, im.Size()); err != nil {
		return err
	}
	return atomicfile.Stream(name, false, func(to io.Writer) error {
		return im.writeTar(ctx, to, name, index, &counter{report: progress})
	})
}

// writeTar writes the layout to a writer of the name.
func (im *Image) writeTar(ctx context.Context, to io.Writer, name string, index []byte, done *counter) error {
	w := tar.NewWriter(to)
	header := func(name string, size int64) error {
		h := &tar.Header{
			Name: name, Size: size, Mode: 0o644, Typeflag: tar.TypeReg, ModTime: time.Unix(0, 0),
			Format: tar.FormatUSTAR,
		}
		if strings.HasSuffix(name, "/") {
			h.Mode, h.Typeflag = 0o755, tar.TypeDir
		}
		if size >= 1<<33 { // eleven octal digits
			h.Format = tar.FormatGNU
		}
		return w.WriteHeader(h)
	}
	for _, e := range []struct {
		name string
		data []byte
	}{{ocispec.ImageLayoutFile, layoutMark}, {ocispec.ImageIndexFile, index}, {"blobs/", nil}, {"blobs/sha256/", nil}} {
		if err := header(e.name, int64(len(e.data))); err != nil {
			return err
		}
		if _, err := w.Write(e.data); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	blobs := im.all()
	slices.SortFunc(blobs, func(a, b located) int { return strings.Compare(string(a.Digest), string(b.Digest)) })
	blobs = slices.CompactFunc(blobs, func(a, b located) bool { return a.Digest == b.Digest })
	for _, b := range blobs {
		if err := header(blobName(b.Descriptor), b.Size); err != nil {
			return err
		}
		if err := stream(ctx, b, 0, w, nil, done); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
