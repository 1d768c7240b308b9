package source

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/formats/safetensors"
	"github.com/phi3conv/phi3conv/internal/testmodel"
)

// What is missing is named as the file would hold it, and once.
func TestMissingOfSeveral(t *testing.T) {
	const block = "model.layers.1."
	for _, tc := range []struct{ model, without, want string }{
		{
			"tiny-phimoe", block + "block_sparse_moe.experts.3.w1.weight",
			"1 of 79 tensors are missing: " + block + "block_sparse_moe.experts.3.w1.weight",
		},
		{
			"tiny-phi3small", block + "self_attn.query_key_value.bias",
			"1 of 27 tensors are missing: " + block + "self_attn.query_key_value.bias",
		},
	} {
		dir := testmodel.Copy(t, tc.model)
		without := func(all []safetensors.WriteTensor) []safetensors.WriteTensor {
			return slices.DeleteFunc(all, func(x safetensors.WriteTensor) bool { return x.Name == tc.without })
		}
		rewrite(t, filepath.Join(dir, "model.safetensors"), without)
		if _, err := Open(dir); err == nil || !strings.HasSuffix(err.Error(), tc.want) {
			t.Errorf("%s: error %v, expected %q", tc.model, err, tc.want)
		}
	}
}
