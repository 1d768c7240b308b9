package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/pack"
	"github.com/phi3conv/phi3conv/internal/testmodel"
)

// TestPack packs and unpacks as a user does, and looks at what is printed. internal/pack tests the artifacts,
// .ci/pack registries.
func TestPack(t *testing.T) {
	model, dir := testmodel.Phi3(t), t.TempDir()
	tar, out := filepath.Join(dir, "tiny.tar"), filepath.Join(dir, "out")
	seal := filepath.Join(dir, "base.bin")
	testmodel.Write(t, seal, []byte("seal"))
	stdout, stderr, code := phi3conv(t, "pack", model, "--seal", seal, "-o", tar, "--json")
	if code != exitOK || stderr != "" {
		t.Fatalf("exit %d\n%s", code, stderr)
	}
	var packed, unpacked pack.Summary
	if err := json.Unmarshal([]byte(stdout), &packed); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, code = phi3conv(t, "unpack", tar, "-o", out, "--json")
	if code != exitOK || stderr != "" {
		t.Fatalf("exit %d\n%s", code, stderr)
	}
	if err := json.Unmarshal([]byte(stdout), &unpacked); err != nil {
		t.Fatal(err)
	}
	if packed.Digest != unpacked.Digest || packed.Bytes != unpacked.Bytes || len(packed.Files) != len(unpacked.Files) {
		t.Errorf("packed %+v, unpacked %+v", packed, unpacked)
	}
	roles := map[string]string{}
	for _, f := range unpacked.Files {
		roles[f.Role] = f.Path
	}
	if roles["seal"] != filepath.Join(out, "base.bin") || string(testmodel.Read(t, roles["seal"])) != "seal" {
		t.Errorf("files %v", roles)
	}
	stdout, _, code = phi3conv(t, "unpack", tar, "-o", out)
	weights := "weights  " + filepath.Join(out, "model.safetensors")
	if code != exitOK || !strings.Contains(stdout, weights) || !strings.Contains(stdout, packed.Digest) {
		t.Errorf("exit %d\n%s", code, stdout)
	}

	// One bit of the weights.
	data := testmodel.Read(t, tar)
	damaged := filepath.Join(dir, "damaged.tar")
	data[len(data)/2] ^= 1
	testmodel.Write(t, damaged, data)
	stdout, stderr, code = phi3conv(t, "unpack", damaged, "-o", filepath.Join(dir, "damaged"))
	if code != exitFailed || stdout != "" || !strings.Contains(stderr, "refused") {
		t.Errorf("damaged: exit %d\n%s%s", code, stdout, stderr)
	}
	if _, err := os.Stat(filepath.Join(dir, "damaged", "model.safetensors")); err == nil {
		t.Error("damaged weights have their final name")
	}
}

func TestPackErrors(t *testing.T) {
	model, dir := testmodel.Phi3(t), t.TempDir()
	out := filepath.Join(dir, "out")
	weights := filepath.Join(model, "model.safetensors")
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"pack", model}, exitUsage, "--output"},
		{[]string{"pack", "-o", out}, exitUsage, "one MODEL"},
		{[]string{"pack", model, "-o", out, "--format", "zip"}, exitUsage, "modelpack or docker"},
		{[]string{"pack", model, "-o", weights}, exitUsage, "is a file of the input"},
		{[]string{"pack", model, "-o", out, "--format", "docker"}, exitBadInput, "GGUF"},
		{[]string{"pack", filepath.Join(dir, "none"), "-o", out}, exitBadInput, "none"},
		{[]string{"pack", dir, "-o", out}, exitBadInput, "no weights"},
		{[]string{"pack", model, "-o", out, "--seal", filepath.Join(dir, "none")}, exitBadInput, "none"},
		{[]string{"pack", model, "-o", out, "--sign-key", weights}, exitBadInput, "PEM"},
		{[]string{"pack", model, "-o", "oci://not a name"}, exitBadInput, "oci://HOST/REPOSITORY:TAG"},
		{[]string{"push", model}, exitUsage, "oci://"},
		{[]string{"push", model, "oci://127.0.0.1:1/m:v1"}, exitBadInput, "not an image layout"},
		{[]string{"pull", model, "-o", out}, exitUsage, "oci://"},
		{[]string{"pull", "oci://127.0.0.1:1/m:v1"}, exitUsage, "--output"},
		{[]string{"pull", "oci://127.0.0.1:1/m:v1", "-o", out}, exitIO, "127.0.0.1:1"},
		{[]string{"unpack", model}, exitUsage, "--output"},
		{[]string{"unpack", weights, "-o", out}, exitBadInput, "not a tar file"},
	} {
		_, stderr, code := phi3conv(t, tt.args...)
		if code != tt.code || !strings.Contains(stderr, tt.want) {
			t.Errorf("%v: exit %d, expected %d with %q\n%s", tt.args, code, tt.code, tt.want, stderr)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%v: made the output", tt.args)
		}
	}
}
