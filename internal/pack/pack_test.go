package pack

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/quant/policy"
)

// checkpoint writes the tiny model and files beside it.
func checkpoint(t *testing.T) string {
	t.Helper()
	dir := testmodel.Phi3(t)
	for name, text := range map[string]string{
		"LICENSE": "MIT", "README.md": "# Tiny", "base.seal": "seal", "modeling_phi3.py": "pass", ".hidden.json": "{}",
		"weights.bin": "x",
	} {
		testmodel.Write(t, filepath.Join(dir, name), []byte(text))
	}
	return dir
}

func build(t *testing.T, dir string) *Image {
	t.Helper()
	files, _, err := ModelFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	im, err := Build(t.Context(), files, "modelpack", nil)
	if err != nil {
		t.Fatal(err)
	}
	return im
}

func open(t *testing.T, name string) *Registry {
	t.Helper()
	r, err := OpenRegistry(name, RegistryOptions{UserAgent: "test"})
	if err != nil {
		t.Fatal(err)
	}
	r.pause = time.Millisecond
	r.inOneRequest = 1 << 16
	return r
}

// same compares the packed files of two directories.
func same(t *testing.T, im *Image, want, got string) {
	t.Helper()
	layers, err := im.Layers()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, l := range layers {
		names = append(names, l.Name)
		if !bytes.Equal(testmodel.Read(t, filepath.Join(want, l.Name)), testmodel.Read(t, filepath.Join(got, l.Name))) {
			t.Errorf("%s differs", l.Name)
		}
	}
	slices.Sort(names)
	var there []string
	entries, err := os.ReadDir(got)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		there = append(there, e.Name())
	}
	if !slices.Equal(names, there) {
		t.Errorf("files %q, expected %q", there, names)
	}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestRoundTrip passes the model through every kind of place.
func TestRoundTrip(t *testing.T) {
	_, name := newFake(t)
	ctx, dir, tmp := t.Context(), checkpoint(t), t.TempDir()
	im := build(t, dir)
	key := newKey(t)
	if err := im.Sign(ctx, key, ""); err != nil {
		t.Fatal(err)
	}
	layout, tar1, tar2 := filepath.Join(tmp, "layout"), filepath.Join(tmp, "1.tar"), filepath.Join(tmp, "2.tar")
	var done int64
	if err := im.WriteLayout(ctx, layout, func(n int64) { done = n }); err != nil {
		t.Fatal(err)
	}
	if done < im.Size() {
		t.Errorf("progress ended at %d of %d bytes", done, im.Size())
	}
	fromDir, err := OpenLayout(ctx, layout)
	if err != nil {
		t.Fatal(err)
	}
	if err := fromDir.WriteTar(ctx, tar1, nil); err != nil {
		t.Fatal(err)
	}
	fromTar, err := OpenLayout(ctx, tar1)
	if err != nil {
		t.Fatal(err)
	}
	if err := fromTar.Push(ctx, open(t, name), nil); err != nil {
		t.Fatal(err)
	}
	pulled, err := open(t, name).Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := pulled.WriteTar(ctx, tar2, nil); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(testmodel.Read(t, tar1), testmodel.Read(t, tar2)) {
		t.Error("the tar file differs after a registry")
	}
	for what, x := range map[string]*Image{"built": im, "layout": fromDir, "tar": fromTar, "registry": pulled} {
		if err := x.Verify(ctx, key.Public()); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		out := filepath.Join(tmp, "out-"+what)
		for range 2 { // the second finds everything there
			if _, err := x.Unpack(ctx, out, true, nil); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
		}
		same(t, x, dir, out)
	}
}

// TestManifest compares a manifest with one written by hand after the specification.
func TestManifest(t *testing.T) {
	dir := checkpoint(t)
	files, left, err := ModelFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(left, []string{".hidden.json", "weights.bin"}) {
		t.Errorf("left out %q", left)
	}
	slices.Reverse(files) // their order does not matter
	im, err := Build(t.Context(), files, "modelpack", nil)
	if err != nil {
		t.Fatal(err)
	}
	if again := build(t, dir); again.Desc.Digest != im.Desc.Digest {
		t.Error("the same files give another digest")
	}
	if im.Manifest.ArtifactType != "application/vnd.cncf.model.manifest.v1+json" ||
		im.Manifest.Config.MediaType != "application/vnd.cncf.model.config.v1+json" {
		t.Errorf("types %q, %q", im.Manifest.ArtifactType, im.Manifest.Config.MediaType)
	}
	types := map[string]string{}
	for _, l := range im.Manifest.Layers {
		types[l.Annotations["org.cncf.model.filepath"]] = l.MediaType
	}
	for name, want := range map[string]string{
		"model.safetensors": "application/vnd.cncf.model.weight.v1.raw",
		"tokenizer.json":    "application/vnd.cncf.model.weight.config.v1.raw",
		"base.seal":         "application/vnd.cncf.model.weight.config.v1.raw",
		"modeling_phi3.py":  "application/vnd.cncf.model.code.v1.raw",
		"LICENSE":           "application/vnd.cncf.model.doc.v1.raw",
		"README.md":         "application/vnd.cncf.model.doc.v1.raw",
	} {
		if types[name] != want {
			t.Errorf("%s is of type %q, expected %q", name, types[name], want)
		}
	}
	config, err := readBlob(t.Context(), im.store, im.Manifest.Config)
	if err != nil {
		t.Fatal(err)
	}
	var diff []string
	for _, l := range im.Manifest.Layers {
		diff = append(diff, `"`+l.Digest.String()+`"`)
	}
	want := `{"descriptor":{"family":"phi3","name":"Tiny Phi3"},"modelfs":{"type":"layers","diffIds":[` +
		strings.Join(diff, ",") +
		`]},"config":{"architecture":"transformer","format":"safetensors","paramSize":"2.7M","precision":"bfloat16"}}`
	if string(config) != want {
		t.Errorf("configuration\n%s\nexpected\n%s", config, want)
	}
}

// TestDocker compares with what Docker Model Runner reads.
func TestDocker(t *testing.T) {
	dir := t.TempDir()
	path, license := filepath.Join(dir, "m.gguf"), filepath.Join(dir, "LICENSE")
	var md gguf.Metadata
	md.Set("general.architecture", "phi3")
	md.Set("general.file_type", policy.MostlyQ8_0.GGUF())
	md.Set("phi3.context_length", uint32(4096))
	w, err := gguf.Create(path, &md, []gguf.TensorInfo{{Name: "x", Type: quant.F32, Dims: []uint64{4}}}, gguf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.WriteTensorAt(0, make([]byte, 16), 0), w.Close()); err != nil {
		t.Fatal(err)
	}
	testmodel.Write(t, license, []byte("MIT"))
	files := []File{{path, Weights}, {license, License}}
	im, err := Build(t.Context(), files, "docker", nil)
	if err != nil {
		t.Fatal(err)
	}
	config, err := readBlob(t.Context(), im.store, im.Manifest.Config)
	if err != nil {
		t.Fatal(err)
	}
	l := im.Manifest.Layers
	want := fmt.Sprintf(
		`{"config":{"format":"gguf","quantization":"Q8_0","parameters":"0.0K","architecture":"phi3",`+
			`"size":"%dB","context_size":4096},"descriptor":{},"rootfs":{"type":"rootfs","diff_ids":["%s","%s"]}}`,
		l[0].Size, l[0].Digest, l[1].Digest,
	)
	if string(config) != want {
		t.Errorf("configuration\n%s\nexpected\n%s", config, want)
	}
	if im.Manifest.ArtifactType != "" ||
		im.Manifest.Config.MediaType != "application/vnd.docker.ai.model.config.v0.1+json" ||
		l[0].MediaType != "application/vnd.docker.ai.gguf.v3" || l[1].MediaType != "application/vnd.docker.ai.license" {
		t.Errorf("manifest %s", im.raw)
	}
	if _, err := Build(
		t.Context(), []File{{filepath.Join(checkpoint(t), "model.safetensors"), Weights}}, "docker", nil,
	); err == nil || !strings.Contains(err.Error(), "GGUF") {
		t.Errorf("safetensors: error %v", err)
	}
}

// TestResume cuts transfers in the middle and continues them, in the same and in another process.
func TestResume(t *testing.T) {
	f, name := newFake(t)
	ctx, dir := t.Context(), checkpoint(t)
	im := build(t, dir)
	weights := im.Manifest.Layers[0]

	f.cutSend = 1 << 20
	var done int64
	if err := im.Push(ctx, open(t, name), func(n int64) { done = n }); err != nil {
		t.Fatal(err)
	}
	if done != im.Size() {
		t.Errorf("progress ended at %d of %d bytes", done, im.Size())
	}
	if n, log := f.requests("PATCH"); n != 2 ||
		!strings.Contains(log, fmt.Sprintf("s0 %d-%d", 1<<20, weights.Size-1)) &&
			!strings.Contains(log, fmt.Sprintf(" %d-%d", 1<<20, weights.Size-1)) {
		t.Errorf("requests\n%s", log)
	}
	if err := im.Push(ctx, open(t, name), nil); err != nil {
		t.Fatal(err)
	}
	if n, log := f.requests("P"); n != 1 { // the manifest
		t.Errorf("the second push asked\n%s", log)
	}

	for _, noRange := range []bool{false, true} {
		f.noRange = noRange
		f.cutGet = 1 << 20
		out := filepath.Join(t.TempDir(), "out")
		pulled, err := open(t, name).Open(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pulled.Unpack(ctx, out, true, nil); err != nil {
			t.Fatal(err)
		}
		same(t, pulled, dir, out)
		if n, log := f.requests("GET"); !noRange && !strings.Contains(log, "bytes=") {
			t.Errorf("%d requests, none with a range:\n%s", n, log)
		}
	}
	f.noRange = false
}

// What is left of another process that pulled is a partial file.
func TestResumePull(t *testing.T) {
	f, name := newFake(t)
	ctx, dir := t.Context(), checkpoint(t)
	im := build(t, dir)
	weights := im.Manifest.Layers[0]
	if err := im.Push(ctx, open(t, name), nil); err != nil {
		t.Fatal(err)
	}
	f.requests("")
	for _, left := range []struct {
		what   string
		data   []byte
		ranged bool
	}{
		{"half of the file", testmodel.Read(t, filepath.Join(dir, "model.safetensors"))[:1<<20], true},
		{"the whole file", testmodel.Read(t, filepath.Join(dir, "model.safetensors")), false},
		{"other bytes", make([]byte, 1<<20), true},
		{"too many bytes", make([]byte, weights.Size+1), false},
	} {
		out := t.TempDir()
		partial := filepath.Join(out, ".model.safetensors."+weights.Digest.Encoded()[:12]+".partial")
		testmodel.Write(t, partial, left.data)
		pulled, err := open(t, name).Open(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pulled.Unpack(ctx, out, true, nil); err != nil {
			t.Fatalf("%s: %v", left.what, err)
		}
		same(t, pulled, dir, out)
		if _, log := f.requests(""); strings.Contains(log, fmt.Sprintf("bytes=%d-", 1<<20)) != left.ranged {
			t.Errorf("%s: requests\n%s", left.what, log)
		}
	}
}

// What is left of another process that pushed is the address of its session, in the cache directory.
func TestResumePush(t *testing.T) {
	f, name := newFake(t)
	ctx, dir := t.Context(), checkpoint(t)
	im := build(t, dir)
	weights := im.Manifest.Layers[0]
	for _, forget := range []bool{false, true} {
		f.blobs, f.forget = map[string][]byte{}, forget
		r := open(t, name)
		cut, cancel := context.WithCancel(ctx)
		if err := im.Push(cut, r, func(n int64) {
			if n > 2<<20 {
				cancel()
			}
		}); !errors.Is(err, context.Canceled) {
			t.Fatalf("error %v", err)
		}
		cancel()
		if _, err := os.Stat(r.sessionFile(weights.Digest)); err != nil {
			t.Fatal(err)
		}
		f.requests("")
		if err := im.Push(ctx, open(t, name), nil); err != nil {
			t.Fatal(err)
		}
		n, log := f.requests("GET /v2/me/model/blobs/uploads/")
		want := testmodel.Read(t, filepath.Join(dir, "model.safetensors"))
		if n == 0 || !bytes.Equal(f.blobs[weights.Digest.String()], want) {
			t.Errorf("forget %v: requests\n%s", forget, log)
		}
		if _, err := os.Stat(r.sessionFile(weights.Digest)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the session is still kept: %v", err)
		}
	}
	f.forget = false

	f.blobs, f.noParts = map[string][]byte{}, true
	if err := im.Push(ctx, open(t, name), nil); err != nil ||
		len(f.blobs[weights.Digest.String()]) != int(weights.Size) {
		t.Errorf("without PATCH: error %v", err)
	}
	f.blobs, f.elsewhere = map[string][]byte{}, true
	if err := im.Push(ctx, open(t, name), nil); !errors.Is(err, ErrRegistry) ||
		!strings.Contains(err.Error(), "evil.example") {
		t.Errorf("uploads to another host: error %v", err)
	}
}

// TestTampered changes each part of an artifact in a registry and in a layout.
func TestTampered(t *testing.T) {
	f, name := newFake(t)
	ctx := t.Context()
	im := build(t, checkpoint(t))
	key := newKey(t)
	if err := im.Sign(ctx, key, ""); err != nil {
		t.Fatal(err)
	}
	if err := im.Push(ctx, open(t, name), nil); err != nil {
		t.Fatal(err)
	}
	layout := filepath.Join(t.TempDir(), "layout")
	if err := im.WriteLayout(ctx, layout, nil); err != nil {
		t.Fatal(err)
	}
	flip := func(data []byte) []byte {
		data = bytes.Clone(data)
		data[len(data)/2] ^= 1
		return data
	}
	// get does what pull and unpack do.
	get := func(im *Image, err error, verify bool) error {
		if err == nil && verify {
			err = im.Verify(ctx, key.Public())
		}
		if err != nil {
			return err
		}
		out := t.TempDir()
		_, err = im.Unpack(ctx, out, true, nil)
		if _, e := os.Stat(filepath.Join(out, "model.safetensors")); err != nil && e == nil {
			t.Error("the refused layer has its final name")
		}
		return err
	}
	weights, signature := im.Manifest.Layers[0].Digest, im.Signature
	for _, tt := range []struct {
		what   string
		digest digest.Digest
		blobs  map[string][]byte
	}{
		{"layer", weights, f.blobs},
		{"manifest", im.Desc.Digest, f.manifests},
		{"signature manifest", signature.Desc.Digest, f.manifests},
		{"signed text", signature.Manifest.Layers[0].Digest, f.blobs},
	} {
		was := tt.blobs[tt.digest.String()]
		f.set(tt.blobs, tt.digest.String(), flip(was))
		pulled, err := open(t, name).Open(ctx)
		if err := get(pulled, err, true); !errors.Is(err, ErrRefused) {
			t.Errorf("registry, %s: error %v", tt.what, err)
		}
		f.set(tt.blobs, tt.digest.String(), was)

		path := filepath.Join(layout, "blobs", "sha256", tt.digest.Encoded())
		content := testmodel.Read(t, path)
		for what, data := range map[string][]byte{"flipped": flip(content), "cut": content[:len(content)-1]} {
			testmodel.Write(t, path, data)
			opened, err := OpenLayout(ctx, layout)
			if err := get(opened, err, true); !errors.Is(err, ErrRefused) {
				t.Errorf("layout, %s %s: error %v", tt.what, what, err)
			}
			if tt.what == "layer" {
				_, empty := newFake(t)
				if err := opened.Push(ctx, open(t, empty), nil); !errors.Is(err, ErrRefused) {
					t.Errorf("push of a %s layer: error %v", what, err)
				}
			}
		}
		testmodel.Write(t, path, content)
	}
}

// TestSignatures verifies what others sign and refuses what is wrong. The text and the signature are
// checked here with Go's crypto alone, after cosign's specification.
func TestSignatures(t *testing.T) {
	_, name := newFake(t)
	ctx := t.Context()
	dir := checkpoint(t)
	im := build(t, dir)
	if err := im.Verify(ctx, newKey(t).Public()); !errors.Is(err, ErrRefused) {
		t.Errorf("without a signature: error %v", err)
	}
	key := newKey(t)
	if err := im.Sign(ctx, key, "ghcr.io/me/model"); err != nil {
		t.Fatal(err)
	}
	layer := im.Signature.Manifest.Layers[0]
	text, err := readBlob(ctx, im.Signature.store, layer)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"critical":{"identity":{"docker-reference":"ghcr.io/me/model"},"image":{"docker-manifest-digest":"` +
		im.Desc.Digest.String() + `"},"type":"cosign container image signature"},"optional":null}`
	if string(text) != want || layer.MediaType != "application/vnd.dev.cosign.simplesigning.v1+json" {
		t.Errorf("signed text %s of type %s", text, layer.MediaType)
	}
	sum := sha256.Sum256(text)
	signature, err := base64.StdEncoding.DecodeString(layer.Annotations["dev.cosignproject.cosign/signature"])
	if err != nil || !ecdsa.VerifyASN1(&key.PublicKey, sum[:], signature) {
		t.Errorf("signature %x, error %v", signature, err)
	}
	digest := im.Signature.Desc.Digest
	if err := im.Sign(ctx, key, "ghcr.io/me/model"); err != nil || im.Signature.Desc.Digest != digest {
		t.Errorf("signing again gives another signature, error %v", err)
	}

	// A second signature joins the first in the registry, though this copy does not have that.
	if err := im.Push(ctx, open(t, name), nil); err != nil {
		t.Fatal(err)
	}
	pub, second, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other := build(t, dir)
	if err := other.Sign(ctx, second, ""); err != nil {
		t.Fatal(err)
	}
	if err := other.Push(ctx, open(t, name), nil); err != nil {
		t.Fatal(err)
	}
	pulled, err := open(t, name).Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(pulled.Verify(ctx, key.Public()), pulled.Verify(ctx, pub)); err != nil {
		t.Error(err)
	}
	if err := pulled.Verify(ctx, newKey(t).Public()); !errors.Is(err, ErrRefused) {
		t.Errorf("another key: error %v", err)
	}

	// A right signature of something else.
	testmodel.Write(t, filepath.Join(dir, "LICENSE"), []byte("GPL"))
	changed := build(t, dir)
	changed.Signature = im.Signature
	if err := changed.Verify(ctx, key.Public()); !errors.Is(err, ErrRefused) ||
		!strings.Contains(err.Error(), im.Desc.Digest.String()) {
		t.Errorf("signature of another artifact: error %v", err)
	}
}

func TestKeys(t *testing.T) {
	dir := t.TempDir()
	save := func(kind string, der []byte) string {
		path := filepath.Join(dir, "key.pem")
		testmodel.Write(t, path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
		return path
	}
	must := func(der []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	key := newKey(t)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	large, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		kind, problem string
		der           []byte
	}{
		{"PRIVATE KEY", "", must(x509.MarshalPKCS8PrivateKey(key))},
		{"PRIVATE KEY", "", must(x509.MarshalPKCS8PrivateKey(ed))},
		{"EC PRIVATE KEY", "", must(x509.MarshalECPrivateKey(key))},
		{"PRIVATE KEY", "P-256", must(x509.MarshalPKCS8PrivateKey(large))},
		{"PRIVATE KEY", "P-256", must(x509.MarshalPKCS8PrivateKey(r))},
		{"PRIVATE KEY", "private key", []byte("x")},
		{"ENCRYPTED SIGSTORE PRIVATE KEY", "password", []byte("x")},
		{"ENCRYPTED COSIGN PRIVATE KEY", "password", []byte("x")},
		{"PUBLIC KEY", "expected a PRIVATE KEY", must(x509.MarshalPKIXPublicKey(key.Public()))},
	} {
		_, err := ReadPrivateKey(save(tt.kind, tt.der))
		if tt.problem == "" && err != nil || tt.problem != "" &&
			(err == nil || !strings.Contains(err.Error(), tt.problem)) {
			t.Errorf("%s: error %v, expected %q", tt.kind, err, tt.problem)
		}
	}
	for _, tt := range []struct {
		kind, problem string
		der           []byte
	}{
		{"PUBLIC KEY", "", must(x509.MarshalPKIXPublicKey(key.Public()))},
		{"PUBLIC KEY", "", must(x509.MarshalPKIXPublicKey(ed.Public()))},
		{"PUBLIC KEY", "P-256", must(x509.MarshalPKIXPublicKey(r.Public()))},
		{"PUBLIC KEY", "public key", []byte("x")},
		{"CERTIFICATE", "expected a PUBLIC KEY", []byte("x")},
	} {
		_, err := ReadPublicKey(save(tt.kind, tt.der))
		if tt.problem == "" && err != nil || tt.problem != "" &&
			(err == nil || !strings.Contains(err.Error(), tt.problem)) {
			t.Errorf("%s: error %v, expected %q", tt.kind, err, tt.problem)
		}
	}
	path := filepath.Join(dir, "text")
	testmodel.Write(t, path, []byte("text"))
	if _, err := ReadPublicKey(path); err == nil || !strings.Contains(err.Error(), "PEM") {
		t.Errorf("error %v", err)
	}
}

// TestRefuses has artifacts that a hostile registry could serve.
func TestRefuses(t *testing.T) {
	layer := func(name, mediaType string) ocispec.Descriptor {
		return ocispec.Descriptor{
			MediaType: mediaType, Digest: digest.FromString(name), Size: 1,
			Annotations: map[string]string{annotationPath: name},
		}
	}
	for _, tt := range []struct {
		problem string
		layers  []ocispec.Descriptor
	}{
		{"no layers", nil},
		{"is refused", []ocispec.Descriptor{layer("../evil", cncfWeight)}},
		{"is refused", []ocispec.Descriptor{layer("/etc/passwd", cncfWeight)}},
		{"is refused", []ocispec.Descriptor{layer("a/../../b", cncfWeight)}},
		{"is refused", []ocispec.Descriptor{layer(`a\b`, cncfWeight)}},
		{"is refused", []ocispec.Descriptor{layer("C:x", cncfWeight)}},
		{"is refused", []ocispec.Descriptor{layer(".ssh/authorized_keys", cncfWeight)}},
		{"is refused", []ocispec.Descriptor{layer("a\x1b[2J", cncfWeight)}},
		{"is refused", []ocispec.Descriptor{layer("a//b", cncfWeight)}},
		{"is refused", []ocispec.Descriptor{layer(strings.Repeat("a", 2000), cncfWeight)}},
		{"two layers", []ocispec.Descriptor{layer("a", cncfWeight), layer("A", cncfWeight)}},
		{"no name", []ocispec.Descriptor{layer("", cncfWeight)}},
		{"archive", []ocispec.Descriptor{layer("a", "application/vnd.cncf.model.weight.v1.tar+gzip")}},
		{
			"digest",
			[]ocispec.Descriptor{
				{MediaType: cncfWeight, Digest: "sha256:../../x", Annotations: map[string]string{annotationPath: "a"}},
			},
		},
		{
			"digest",
			[]ocispec.Descriptor{
				{
					MediaType: cncfWeight, Digest: digest.SHA512.FromString("x"),
					Annotations: map[string]string{annotationPath: "a"},
				},
			},
		},
		{
			"-1 bytes",
			[]ocispec.Descriptor{
				{
					MediaType: cncfWeight, Digest: digest.FromString("x"), Size: -1,
					Annotations: map[string]string{annotationPath: "a"},
				},
			},
		},
	} {
		s := localStore{}
		m := ocispec.Manifest{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Layers: tt.layers,
		}
		m.Config = s.add(cncfConfig, []byte("{}"))
		im, err := newImage(s, m, "")
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		got, err := fetchImage(t.Context(), s, im.Desc)
		if err == nil {
			_, err = got.Unpack(t.Context(), dir, true, nil)
		}
		var bad *formats.Error
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), tt.problem) {
			t.Errorf("%v: error %v, expected %q", tt.layers, err, tt.problem)
		}
		if entries, _ := os.ReadDir(dir); len(entries) > 0 {
			t.Errorf("%v: wrote %v", tt.layers, entries)
		}
	}
	s := localStore{}
	d := s.add(ocispec.MediaTypeImageManifest, []byte("{}"))
	d.Size = 1 << 40
	if _, err := fetchImage(t.Context(), s, d); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("a large manifest: error %v", err)
	}
	if _, err := fetchImage(t.Context(), s, s.add(ocispec.MediaTypeImageIndex, []byte("{}"))); err == nil ||
		!strings.Contains(err.Error(), "is an index of 0 manifests") {
		t.Errorf("an index: error %v", err)
	}
}

func TestLayouts(t *testing.T) {
	ctx, tmp := t.Context(), t.TempDir()
	a, b := checkpoint(t), checkpoint(t)
	testmodel.Write(t, filepath.Join(b, "LICENSE"), []byte("GPL"))
	dir := filepath.Join(tmp, "layout")
	if err := build(t, a).WriteLayout(ctx, dir, nil); err != nil {
		t.Fatal(err)
	}
	if err := build(t, b).WriteLayout(ctx, dir, nil); err == nil || !strings.Contains(err.Error(), "another artifact") {
		t.Errorf("another artifact: error %v", err)
	}
	if err := build(t, b).WriteLayout(ctx, a, nil); err == nil || !strings.Contains(err.Error(), "neither empty") {
		t.Errorf("a directory of other files: error %v", err)
	}
	index := func(tags ...string) {
		var x ocispec.Index
		if err := json.Unmarshal(testmodel.Read(t, filepath.Join(dir, "index.json")), &x); err != nil {
			t.Fatal(err)
		}
		one := x.Manifests[0]
		x.Manifests = nil
		for _, tag := range tags {
			one.Annotations = map[string]string{ocispec.AnnotationRefName: tag}
			x.Manifests = append(x.Manifests, one)
		}
		data, err := json.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		testmodel.Write(t, filepath.Join(dir, "index.json"), data)
	}
	for _, tt := range []struct {
		tags []string
		ok   bool
	}{{[]string{"v1"}, true}, {[]string{"v1", "latest"}, true}, {[]string{"v1", "v2"}, false}} {
		index(tt.tags...)
		if _, err := OpenLayout(ctx, dir); (err == nil) != tt.ok {
			t.Errorf("tags %q: error %v", tt.tags, err)
		}
	}
	for name, data := range map[string]string{"text": "no tar", "empty.tar": ""} {
		path := filepath.Join(tmp, name)
		testmodel.Write(t, path, []byte(data))
		if _, err := OpenLayout(ctx, path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// TestRoles covers the table of roles and files whose names say something.
func TestRoles(t *testing.T) {
	for i, r := range roles {
		if rank(r.role) != i || r.cncf == "" || r.docker == "" {
			t.Errorf("role %v", r)
		}
	}
	for name, want := range map[string]Role{
		"model-00001-of-00002.safetensors": Weights, "model.safetensors.index.json": Config, "M.GGUF": Weights,
		"m.pmap":          Weights,
		"tokenizer.model": Config, "chat_template.jinja": Config, "LICENSE": License, "licence.txt": License,
		"NOTICE.md": License,
		"README.md": Readme, "SECURITY.md": Readme, "recipe.json": Recipe, "q4.recipe.json": Recipe, "out.yaml": Recipe,
		"recipe.yml": Recipe, "m.seal": Seal, "a.py": Code, "pytorch_model.bin": "",
	} {
		if got, _ := RoleOf(name); got != want {
			t.Errorf("%s: %q, expected %q", name, got, want)
		}
	}
}

// What quantize --write-recipe puts into a model's directory is packed as its recipe.
func TestRecipeInDirectory(t *testing.T) {
	dir := checkpoint(t)
	testmodel.Write(t, filepath.Join(dir, "out.yaml"), []byte("default: q4_k\n"))
	files, left, err := ModelFiles(dir)
	if err != nil || !slices.Equal(left, []string{".hidden.json", "weights.bin"}) {
		t.Fatalf("left out %q, error %v", left, err)
	}
	if want := (File{filepath.Join(dir, "out.yaml"), Recipe}); !slices.Contains(files, want) {
		t.Errorf("%v, expected %v among them", files, want)
	}
}

// FuzzManifest reads manifests that a registry serves.
func FuzzManifest(f *testing.F) {
	zero := "sha256:" + strings.Repeat("0", 64)
	f.Add([]byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",` +
		`"config":{"mediaType":"x","digest":"` + zero + `","size":0},"layers":[{"mediaType":"a","digest":"` + zero +
		`","size":1,"annotations":{"org.cncf.model.filepath":"a/b"}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := localStore{}
		im, err := fetchImage(t.Context(), s, s.add(ocispec.MediaTypeImageManifest, data))
		if err != nil {
			return
		}
		layers, err := im.Layers()
		if err != nil {
			return
		}
		for _, l := range layers {
			if !filepath.IsLocal(l.Name) {
				t.Errorf("name %q", l.Name)
			}
		}
	})
}

// A registry need not tell a manifest's digest nor answer HEAD: the distribution specification says SHOULD. A name may
// stand for an index, if that has one manifest.
func TestOpenManifests(t *testing.T) {
	f, name := newFake(t)
	im := build(t, checkpoint(t))
	if err := im.Push(t.Context(), open(t, name), nil); err != nil {
		t.Fatal(err)
	}
	index := func(manifests ...map[string]any) []byte {
		data, err := json.Marshal(map[string]any{
			"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests,
		})
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	entry := map[string]any{
		"mediaType": im.Desc.MediaType, "digest": im.Desc.Digest.String(), "size": im.Desc.Size,
	}
	attestation := map[string]any{
		"mediaType": im.Desc.MediaType, "digest": "sha256:" + strings.Repeat("0", 64), "size": 1,
		"annotations": map[string]any{"vnd.docker.reference.type": "attestation-manifest"},
	}
	for what, c := range map[string]struct {
		index            []byte
		noDigest, noHead bool
		err              string
	}{
		"a manifest":           {},
		"no digest":            {noDigest: true},
		"no HEAD":              {noHead: true},
		"an index":             {index: index(entry)},
		"an index, no digest":  {index: index(entry), noDigest: true},
		"one with attestation": {index: index(entry, attestation)},
		"an index of two":      {index: index(entry, entry), err: "is an index of 2 manifests, expected one"},
		"an index without any": {index: index(), err: "is an index of 0 manifests"},
		"an index that is not": {
			index: []byte(`{"mediaType":"application/vnd.oci.image.index.v1+json","manifests":1}`),
			err:   "is not JSON of an index",
		},
	} {
		f.noDigest, f.noHead = c.noDigest, c.noHead
		tag := name
		if c.index != nil {
			f.set(f.manifests, "v2", c.index)
			f.set(f.manifests, digest.FromBytes(c.index).String(), c.index)
			tag = strings.TrimSuffix(name, "v1") + "v2"
		}
		got, err := open(t, tag).Open(t.Context())
		switch {
		case c.err != "":
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v, expected %q", what, err, c.err)
			}
		case err != nil:
			t.Errorf("%s: %v", what, err)
		case got.Desc.Digest != im.Desc.Digest:
			t.Errorf("%s: manifest %s, expected %s", what, got.Desc.Digest, im.Desc.Digest)
		}
	}
}
