package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/phi3conv/phi3conv/internal/pack"
	"github.com/phi3conv/phi3conv/internal/testmodel"
)

// tree makes a directory with a program and a text, whose times and modes are the machine's.
func tree(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "p-1")
	if err := os.MkdirAll(filepath.Join(dir, "man"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "p"), []byte("program"), 0o700); err != nil {
		t.Fatal(err)
	}
	testmodel.Write(t, filepath.Join(dir, "man", "p.1"), []byte("page"))
	return dir
}

// Archives of the same files are the same, and others can read them.
func TestArchive(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1767323045")
	for _, kind := range []string{".tar.gz", ".zip"} {
		var all [][]byte
		for range 2 {
			out := filepath.Join(t.TempDir(), "a"+kind)
			if err := run([]string{"archive", out, tree(t)}); err != nil {
				t.Fatal(err)
			}
			all = append(all, testmodel.Read(t, out))
		}
		if !bytes.Equal(all[0], all[1]) {
			t.Errorf("%s: other bytes the second time", kind)
		}
		want := []string{"p-1/man/p.1 -rw-r--r--", "p-1/p -rwxr-xr-x"}
		if got := names(t, kind, all[0]); !slices.Equal(got, want) {
			t.Errorf("%s: %q, expected %q", kind, got, want)
		}
	}
}

// names returns the names and modes of the files in an archive.
func names(t *testing.T, kind string, data []byte) (list []string) {
	t.Helper()
	if kind == ".zip" {
		z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range z.File {
			list = append(list, f.Name+" "+f.Mode().String())
		}
		return list
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, h.Name+" "+h.FileInfo().Mode().String())
	}
}

// The image is an artifact that push can send, the same each time.
func TestImage(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1767323045")
	program := filepath.Join(tree(t), "p")
	var all []string
	for range 2 {
		out := filepath.Join(t.TempDir(), "image.tar")
		if err := run([]string{"image", out, program, "arm64", "v1.2.3", "abc"}); err != nil {
			t.Fatal(err)
		}
		im, err := pack.OpenLayout(t.Context(), out)
		if err != nil {
			t.Fatal(err)
		}
		if v := im.Manifest.Annotations["org.opencontainers.image.version"]; v != "v1.2.3" ||
			len(im.Manifest.Layers) != 1 {
			t.Errorf("version %q, %d layers", v, len(im.Manifest.Layers))
		}
		sum := sha256.Sum256(testmodel.Read(t, out))
		all = append(all, string(sum[:]))
	}
	if all[0] != all[1] {
		t.Error("other bytes the second time")
	}
}

func TestSign(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "0")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path, text := filepath.Join(dir, "key.pem"), filepath.Join(dir, "SUMS")
	testmodel.Write(t, path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	testmodel.Write(t, text, []byte("sums\n"))
	if err := run([]string{"sign", path, text}); err != nil {
		t.Fatal(err)
	}
	signature, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(testmodel.Read(t, text+".sig"))))
	if sum := sha256.Sum256([]byte("sums\n")); err != nil || !ecdsa.VerifyASN1(&key.PublicKey, sum[:], signature) {
		t.Errorf("%v, or not a signature of the text", err)
	}
	if err := run([]string{"sign", text, text}); err == nil {
		t.Error("a text was taken for a key")
	}
	t.Setenv("SOURCE_DATE_EPOCH", "")
	if run([]string{"sign", path, text}) == nil {
		t.Error("no time is needed")
	}
}
