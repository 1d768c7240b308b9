package build

import "testing"

func TestRead(t *testing.T) {
	b := Read("v1.2.3", "avx2")
	if b.Version != "v1.2.3" || b.Kernels != "avx2" || b.Go == "" || b.Platform == "" {
		t.Errorf("%+v", b)
	}
	if b = Read("", ""); b.Version == "" {
		t.Error("no version")
	}
	for want, b := range map[string]Info{
		"devel":                       {},
		"devel-0123456789ab":          {Revision: "0123456789abcdef"},
		"devel-0123456789ab-modified": {Revision: "0123456789abcdef", Modified: true},
	} {
		if got := b.devel(); got != want {
			t.Errorf("%q, expected %q", got, want)
		}
	}
}
