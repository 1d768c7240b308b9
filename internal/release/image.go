package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/phi3conv/phi3conv/internal/atomicfile"
)

// about says what an image is.
type about struct {
	arch, version, revision string
	when                    time.Time
}

const source = "https://github.com/phi3conv/phi3conv"

// image writes an image for Linux of the program and two empty directories that anyone may write to. It is an OCI image
// layout in a tar file with Docker's manifest.json beside, which "docker load" wants.
func image(out, program string, a about) error {
	data, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	im := layout{tags: []string{"phi3conv:" + strings.TrimPrefix(a.version, "v"), "phi3conv:latest"}}
	config := ocispec.Image{
		Created:  &a.when,
		Platform: ocispec.Platform{OS: "linux", Architecture: a.arch},
		Config: ocispec.ImageConfig{
			// Not root. Caches and histories go to /tmp; mount models at /work.
			User: "65532:65532", Env: []string{"HOME=/tmp", "PATH=/"}, WorkingDir: "/work",
			Entrypoint: []string{"/phi3conv"}, Cmd: []string{"--help"},
			Labels: map[string]string{
				ocispec.AnnotationTitle: "phi3conv", ocispec.AnnotationVersion: a.version,
				ocispec.AnnotationRevision: a.revision, ocispec.AnnotationSource: source,
				ocispec.AnnotationLicenses: "Apache-2.0",
			},
		},
		History: []ocispec.History{{Created: &a.when, CreatedBy: ".ci/release"}},
	}
	layer, diff, err := rootfs(data, a.when)
	if err != nil {
		return err
	}
	config.RootFS = ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{diff}}
	if err := im.build(config, layer, a); err != nil {
		return err
	}
	return im.write(out, a.when)
}

// rootfs returns the layer, compressed, and the digest of what it was before.
func rootfs(program []byte, when time.Time) (layer []byte, diff digest.Digest, err error) {
	var plain, packed bytes.Buffer
	t := tar.NewWriter(&plain)
	for _, f := range []struct {
		name string
		mode int64
		data []byte
	}{{"phi3conv", 0o755, program}, {"tmp/", 0o1777, nil}, {"work/", 0o1777, nil}} {
		if err := addTar(t, &tar.Header{Name: f.name, Mode: f.mode, ModTime: when}, f.data); err != nil {
			return nil, "", err
		}
	}
	if err := t.Close(); err != nil {
		return nil, "", err
	}
	diff = digest.FromBytes(plain.Bytes())
	z, _ := gzip.NewWriterLevel(&packed, gzip.BestCompression) // the level is a valid one
	if _, err := z.Write(plain.Bytes()); err != nil {
		return nil, "", err
	}
	if err := z.Close(); err != nil {
		return nil, "", err
	}
	return packed.Bytes(), diff, nil
}

// layout is an image layout.
type layout struct {
	tags  []string
	files []file
}

type file struct {
	name string
	data []byte
}

// blob adds a blob.
func (l *layout) blob(mediaType string, data []byte) ocispec.Descriptor {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	l.files = append(l.files, file{blobName(d), data})
	return d
}

func blobName(d ocispec.Descriptor) string { return "blobs/sha256/" + d.Digest.Encoded() }

// object adds a blob of JSON.
func (l *layout) object(mediaType string, v any) (ocispec.Descriptor, error) {
	data, err := json.Marshal(v)
	return l.blob(mediaType, data), err
}

func (l *layout) build(image ocispec.Image, layer []byte, a about) error {
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Layers:      []ocispec.Descriptor{l.blob(ocispec.MediaTypeImageLayerGzip, layer)},
		Annotations: image.Config.Labels,
	}
	var err error
	if m.Config, err = l.object(ocispec.MediaTypeImageConfig, image); err != nil {
		return err
	}
	d, err := l.object(m.MediaType, m)
	if err != nil {
		return err
	}
	d.Platform = &image.Platform
	d.Annotations = map[string]string{
		ocispec.AnnotationRefName:  strings.TrimPrefix(a.version, "v"),
		"io.containerd.image.name": "docker.io/library/" + l.tags[0], // by which ctr and "docker load" call it
	}
	index := ocispec.Index{
		Versioned: m.Versioned, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{d},
	}
	for name, v := range map[string]any{
		ocispec.ImageLayoutFile: ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion},
		ocispec.ImageIndexFile:  index,
		"manifest.json": []any{map[string]any{
			"Config": blobName(m.Config), "RepoTags": l.tags, "Layers": []string{blobName(m.Layers[0])},
		}},
	} {
		data, err := json.Marshal(v)
		if err != nil {
			return err
		}
		l.files = append(l.files, file{name, data})
	}
	return nil
}

// write writes the layout in the order of the files' names.
func (l *layout) write(out string, when time.Time) error {
	l.files = append(l.files, file{"blobs/", nil}, file{"blobs/sha256/", nil})
	slices.SortFunc(l.files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	return atomicfile.Stream(out, false, func(w io.Writer) error {
		t := tar.NewWriter(w)
		for _, x := range l.files {
			mode := int64(0o644)
			if x.data == nil {
				mode = 0o755
			}
			if err := addTar(t, &tar.Header{Name: x.name, Mode: mode, ModTime: when}, x.data); err != nil {
				return err
			}
		}
		return t.Close()
	})
}
