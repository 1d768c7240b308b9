package pack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/fetch"
	"github.com/phi3conv/phi3conv/internal/modelcard"
	"github.com/phi3conv/phi3conv/internal/tensorfile"
	"github.com/phi3conv/phi3conv/quant/policy"
	"golang.org/x/sync/errgroup"
)

// File is a file that goes into an artifact.
type File struct {
	Path string
	Role Role
}

// RoleOf tells by a file's name what it is for. ok is false where nothing is known.
func RoleOf(name string) (role Role, ok bool) {
	name = strings.ToLower(filepath.Base(name))
	ext := filepath.Ext(name)
	stem := strings.TrimSuffix(name, ext)
	switch {
	case ext == ".safetensors", ext == ".gguf", ext == ".pmap":
		return Weights, true
	case ext == ".seal":
		return Seal, true
	case slices.Contains([]string{"license", "licence", "copying", "notice"}, stem):
		return License, true
	case ext == ".md", stem == "readme":
		return Readme, true
	case ext == ".py":
		return Code, true
	case ext == ".yaml", ext == ".yml", // as quantize --write-recipe writes them
		ext == ".json" && (stem == "recipe" || strings.HasSuffix(stem, ".recipe")):
		return Recipe, true
	case ext == ".json", ext == ".jinja", ext == ".model", ext == ".txt", ext == ".tiktoken":
		return Config, true
	}
	return "", false
}

// ModelFiles lists the files of a model: a GGUF file with all its parts, a .pmap or .safetensors file,
// or a directory, of which left names the files that are not taken: hidden ones, other directories and
// those of which [RoleOf] knows nothing.
func ModelFiles(model string) (files []File, left []string, err error) {
	info, err := os.Stat(model)
	if err != nil {
		return nil, nil, err
	}
	if !info.IsDir() {
		f, err := tensorfile.Open(model)
		if err != nil {
			return nil, nil, err
		}
		defer func() { _ = f.Close() }() // only read from
		if f.GGUF == nil {
			return []File{{model, Weights}}, nil, nil
		}
		for _, s := range f.GGUF.Shards {
			files = append(files, File{s.Path, Weights})
		}
		return files, nil, nil
	}
	entries, err := os.ReadDir(model)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		path := filepath.Join(model, e.Name())
		info, err := os.Stat(path) // what a link points to
		if err != nil {
			return nil, nil, err
		}
		if role, ok := RoleOf(e.Name()); ok && info.Mode().IsRegular() && !strings.HasPrefix(e.Name(), ".") {
			files = append(files, File{path, role})
		} else {
			left = append(left, e.Name())
		}
	}
	return files, left, nil
}

// Formats are the conventions that [Build] follows.
var Formats = []string{"modelpack", "docker"}

// Build makes an artifact of a model's files, one layer for each. Every file is read once, for its hash. The
// same files give the same digest: there is no time in it.
func Build(ctx context.Context, files []File, format string, progress func(done int64)) (*Image, error) {
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b File) int {
		if a.Role != b.Role {
			return rank(a.Role) - rank(b.Role)
		}
		return strings.Compare(filepath.Base(a.Path), filepath.Base(b.Path))
	})
	if len(files) == 0 || files[0].Role != Weights {
		return nil, formats.Errorf(-1, "no weights to pack: expected .gguf, .pmap or .safetensors files")
	}
	names := map[string]string{}
	for _, f := range files {
		name := strings.ToLower(filepath.Base(f.Path)) // for file systems that do not tell a from A
		if other, ok := names[name]; ok {
			return nil, formats.Errorf(-1, "%s and %s have the same name", other, f.Path)
		}
		names[name] = f.Path
		if err := checkName(filepath.Base(f.Path)); err != nil {
			return nil, err
		}
	}
	about, err := describe(files)
	if err != nil {
		return nil, err
	}
	if format == "docker" && about.format != "gguf" {
		return nil, formats.Errorf(-1, "%s: format docker takes GGUF files only", files[0].Path)
	}

	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	m.Layers = make([]ocispec.Descriptor, len(files))
	store := localStore{}
	var done counter
	done.report = progress
	g, hashing := errgroup.WithContext(ctx)
	g.SetLimit(min(4, runtime.GOMAXPROCS(0)))
	for i, f := range files {
		g.Go(func() error {
			d, err := describeFile(hashing, f, format, &done)
			m.Layers[i] = d
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var total int64
	for i, f := range files {
		store[m.Layers[i].Digest] = func() (io.ReadSeekCloser, error) { return os.Open(f.Path) }
		if f.Role == Weights {
			total += m.Layers[i].Size
		}
	}

	var config any
	mediaType := cncfConfig
	if format == "docker" {
		mediaType = dockerConfig
		config = about.docker(m.Layers, total)
	} else {
		m.ArtifactType = cncfArtifact
		config = about.modelPack(m.Layers)
	}
	m.Annotations = map[string]string{}
	if about.name != "" {
		m.Annotations[ocispec.AnnotationTitle] = about.name
	}
	if about.license != "" {
		m.Annotations[ocispec.AnnotationLicenses] = about.license
	}
	if m.Config, err = store.addJSON(mediaType, config); err != nil {
		return nil, err
	}
	return newImage(store, m, slug(about.name, files[0].Path))
}

func rank(r Role) int {
	for i, x := range roles {
		if x.role == r {
			return i
		}
	}
	panic("pack: no role " + string(r))
}

// describeFile hashes a file.
func describeFile(ctx context.Context, f File, format string, done *counter) (d ocispec.Descriptor, err error) {
	file, err := os.Open(f.Path)
	if err != nil {
		return d, err
	}
	defer func() { _ = file.Close() }() // only read from
	info, err := file.Stat()
	if err != nil {
		return d, err
	}
	if !info.Mode().IsRegular() {
		return d, formats.FileErrorf(f.Path, -1, "not a regular file")
	}
	h := sha256.New()
	n, err := fetch.Copy(io.MultiWriter(h, done), fetch.ContextReader(ctx, file))
	if err != nil {
		return d, err
	}
	name := filepath.Base(f.Path)
	md, err := json.Marshal(
		fileMetadata{Name: name, Mode: 0o644, Size: n, ModTime: "1970-01-01T00:00:00Z", Typeflag: '0'},
	)
	if err != nil {
		return d, err
	}
	kind := roles[rank(f.Role)]
	d = ocispec.Descriptor{
		MediaType: kind.cncf,
		Digest:    digest.NewDigest(digest.SHA256, h),
		Size:      n,
		Annotations: map[string]string{
			annotationPath:          name,
			annotationMetadata:      string(md),
			annotationUntested:      "false",
			ocispec.AnnotationTitle: name,
			annotationRole:          string(f.Role),
		},
	}
	if format == "docker" {
		d.MediaType = kind.docker
	}
	return d, nil
}

// about is what an artifact's configuration says of a model.
type about struct {
	name, family, license   string
	format                  string // "gguf", "pmap" or "safetensors"
	params                  int64
	precision, quantization string
	context                 uint32
}

// precisions maps types of weights to ModelPack's names of them.
var precisions = map[string]string{"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"}

// describe reads the headers of the weights.
func describe(files []File) (*about, error) {
	var weights []string
	for _, f := range files {
		if f.Role == Weights {
			weights = append(weights, f.Path)
		}
	}
	a := &about{}
	open := weights[:1] // a split GGUF file is opened by any part
	if strings.EqualFold(filepath.Ext(weights[0]), ".safetensors") {
		open = weights
	}
	size := map[string]int64{}
	for _, path := range open {
		f, err := tensorfile.Open(path)
		if err != nil {
			return nil, err
		}
		for _, t := range f.Tensors {
			a.params += t.Elems
			size[t.Type] += t.Bytes
		}
		a.format = strings.ToLower(f.Format)
		if f.GGUF != nil {
			a.fromGGUF(f)
			if len(f.GGUF.Shards) != len(weights) {
				_ = f.Close()
				return nil, formats.Errorf(-1, "%s and %s are different models: pack one at a time",
					weights[0], weights[len(weights)-1])
			}
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
	if a.quantization == "" {
		largest := ""
		for t, n := range size {
			if n > size[largest] || n == size[largest] && t < largest {
				largest = t
			}
		}
		a.setType(largest)
	}
	if a.format == "safetensors" {
		if err := a.fromCheckpoint(filepath.Dir(weights[0])); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func (a *about) setType(name string) {
	if p, ok := precisions[name]; ok {
		a.precision = p
	} else {
		a.quantization = name
	}
}

func (a *about) fromGGUF(f *tensorfile.File) {
	md := f.GGUF.Metadata
	a.name, _ = md.Str("general.name")
	a.family, _ = md.Str("general.architecture")
	a.license, _ = md.Str("general.license")
	if n, ok := md.Uint(a.family + ".context_length"); ok && n <= 1<<31-1 {
		a.context = uint32(n)
	}
	if n, ok := md.Uint("general.file_type"); ok {
		if ft, ok := policy.FileTypeByGGUF(n); ok {
			a.setType(ft.String())
		}
	}
}

func (a *about) fromCheckpoint(dir string) error {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	card, err := modelcard.Load(abs, modelcard.Size{Params: a.params})
	if err != nil {
		return err
	}
	a.name, a.license = card.Name, card.License
	data, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		if os.IsNotExist(err) {
			return nil
		}
		return err
	}
	var config struct {
		ModelType string `json:"model_type"`
	}
	if err := json.Unmarshal(data, &config); err != nil {
		return &formats.Error{
			Path: filepath.Join(dir, "config.json"), Off: -1, What: "not JSON of a model's configuration", Err: err,
		}
	}
	a.family = config.ModelType
	return nil
}

// count writes a number of parameters as ModelPack wants it, such as "3.8B".
func (a *about) count() string {
	for _, u := range []struct {
		unit   float64
		letter string
	}{{1e9, "B"}, {1e6, "M"}} {
		if x := float64(a.params) / u.unit; x >= 1 {
			return fmt.Sprintf("%.1f%s", x, u.letter)
		}
	}
	return fmt.Sprintf("%.1fK", float64(a.params)/1e3)
}

func (a *about) modelPack(layers []ocispec.Descriptor) any {
	var c modelConfig
	c.Descriptor.Name, c.Descriptor.Family = a.name, a.family
	if a.license != "" {
		c.Descriptor.Licenses = []string{a.license}
	}
	c.ModelFS.Type = "layers"
	c.ModelFS.DiffIDs = digests(layers)
	c.Config.Architecture = "transformer"
	c.Config.Format = a.format
	c.Config.ParamSize = a.count()
	c.Config.Precision, c.Config.Quantization = a.precision, a.quantization
	return c
}

func (a *about) docker(layers []ocispec.Descriptor, size int64) any {
	var c dockerModelConfig
	c.Config.Format = a.format
	c.Config.Architecture = a.family
	c.Config.Parameters = a.count()
	c.Config.Quantization = a.quantization
	for name, p := range precisions {
		if p == a.precision {
			c.Config.Quantization = name
		}
	}
	c.Config.Size = strings.ReplaceAll(humanize.IBytes(uint64(size)), " ", "")
	c.Config.ContextSize = a.context
	c.RootFS.Type = "rootfs"
	c.RootFS.DiffIDs = digests(layers)
	return c
}

func digests(layers []ocispec.Descriptor) []string {
	var list []string
	for _, d := range layers {
		list = append(list, d.Digest.String())
	}
	return list
}

// slug makes a repository name of a model's name, or of the name of its file.
func slug(name, path string) string {
	if name == "" {
		base := filepath.Base(path)
		name = strings.TrimSuffix(base, filepath.Ext(base))
	}
	words := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	})
	if len(words) == 0 {
		return "model"
	}
	return strings.Join(words, "-")
}

// localStore holds blobs of this machine by their digests.
type localStore map[digest.Digest]func() (io.ReadSeekCloser, error)

// Fetch opens a blob.
func (s localStore) Fetch(_ context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	open, ok := s[d.Digest]
	if !ok {
		return nil, fmt.Errorf("%s: %w", d.Digest, fs.ErrNotExist)
	}
	return open()
}

func (s localStore) add(mediaType string, data []byte) ocispec.Descriptor {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	s[d.Digest] = func() (io.ReadSeekCloser, error) { return nopCloser{bytes.NewReader(data)}, nil }
	return d
}

func (s localStore) addJSON(mediaType string, v any) (ocispec.Descriptor, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return s.add(mediaType, data), nil
}

type nopCloser struct{ io.ReadSeeker }

func (nopCloser) Close() error { return nil }
