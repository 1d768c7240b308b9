package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/job/diff"
)

func TestInspectDiff(t *testing.T) {
	t.Chdir(t.TempDir())
	makeGGUF(t, "a.gguf", keys(
		"general.architecture", "other",
		"n", uint32(7),
		"width", uint32(1),
		"list", []string{"x", "y", "z"},
		"short", []int32{1, 2},
		"only.a", true,
	), map[string][]float32{
		"equal": {1, 2, 3, 4}, "worse": {3, 4, 0, 0}, "other": {1, 2, 3, 4}, "gone": {1, 2, 3, 4},
	}, "equal", "worse", "other", "gone")
	makeGGUF(t, "b.gguf", keys(
		"general.architecture", "other",
		"n", uint32(8),
		"width", uint64(1),
		"list", []string{"x", "w", "z"},
		"short", []int32{1},
		"only.b", "text",
	), map[string][]float32{
		"new": {1, 2, 3, 4}, "other": make([]float32, 8), "worse": {3, 3, 0, 0}, "equal": {1, 2, 3, 4},
	}, "new", "other", "worse", "equal")
	const want = `A: a.gguf
B: b.gguf

key only in A  type  value
only.a         bool  true

tensors only in A
gone

key only in B  type    value
only.b         string  "text"

tensors only in B
new

key that differs  A                   B
n                 7                   8
list              string[3], [1] "y"  string[3], [1] "w"
short             int32[2], [1] 2     int32[1], ends

tensor not compared  why
other                shapes [1 4] and [2 4]

tensor   A    B         RMSE  max error      cosine  SQNR dB
equal    F32  F32          0          0  1.00000000    equal
worse    F32  F32  5.000e-01  1.000e+00  0.98994949    13.98
overall            3.536e-01  1.000e+00  0.99258615    17.40

2 keys equal, 3 different, 1 only in A, 1 only in B
2 tensors compared (8 parameters), 1 not comparable, 1 only in A, 1 only in B
`
	for _, threads := range []string{"1", "4"} {
		stdout, stderr, code := phi3conv(t, "inspect", "--diff", "a.gguf", "b.gguf", "--threads", threads)
		if code != exitOK || stderr != "" {
			t.Fatalf("exit %d: %s", code, stderr)
		}
		expect(t, stdout, want)
	}

	stdout, _, code := phi3conv(t, "inspect", "--diff", "--json", "a.gguf", "b.gguf")
	var d diff.Diff
	if err := json.Unmarshal([]byte(stdout), &d); err != nil || code != exitOK {
		t.Fatalf("exit %d: %v", code, err)
	}
	if len(d.Keys) != 3 || d.Keys[1].First == nil || *d.Keys[1].First != 1 || len(d.Tensors) != 2 ||
		d.Tensors[1].RMSE != 0.5 || d.Parameters != 8 || !strings.Contains(stdout, `"sqnr_db": null`) {
		t.Errorf("got %s", stdout)
	}
}
