package bench

import "testing"

func TestResultOptions(t *testing.T) {
	r := Result{Float32: true, NoRepack: true, Cache: "q8_0", Batch: 4}
	if got, want := resultOptions(&r), "f32, no-repack, cache q8_0, batch 4"; got != want {
		t.Errorf("%q, expected %q", got, want)
	}
	if got := resultOptions(&Result{Cache: "f16", Batch: DefaultBatch}); got != "" {
		t.Errorf("%q for the defaults", got)
	}
}

func TestInUnits(t *testing.T) {
	for n, want := range map[int64]string{2656512: "2.66 M", 3821079552: "3.82 B"} {
		if got := inUnits(n, 1e9, "B", 1e6, "M"); got != want {
			t.Errorf("%d: %s, expected %s", n, got, want)
		}
	}
}
