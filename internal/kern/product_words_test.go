package kern

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// armWords are instructions that Go's assembler does not know, as LLVM 14's llvm-mc
// encodes them with register 0 for each operand.
var armWords = map[string]uint32{
	"fcvtl v0.4s, v0.4h":           0x0e217800,
	"fcvtl2 v0.4s, v0.8h":          0x4e217800,
	"fmla v0.4s, v0.4s, v0.s[1]":   0x4fa01000,
	"fmul v0.4s, v0.4s, v0.4s":     0x6e20dc00,
	"fmul v0.4s, v0.4s, v0.s[0]":   0x4f809000,
	"fmul v0.4s, v0.4s, v0.s[1]":   0x4fa09000,
	"fmul v0.4s, v0.4s, v0.s[2]":   0x4f809800,
	"fmul v0.4s, v0.4s, v0.s[3]":   0x4fa09800,
	"fneg v0.4s, v0.4s":            0x6ea0f800,
	"mla v0.4s, v0.4s, v0.4s":      0x4ea09400,
	"mvn v0.16b, v0.16b":           0x6e205800,
	"neg v0.4s, v0.4s":             0x6ea0b800,
	"sadalp v0.4s, v0.8h":          0x4e606800,
	"sadalp v0.8h, v0.16b":         0x4e206800,
	"saddlp v0.4s, v0.8h":          0x4e602800,
	"saddlp v0.8h, v0.16b":         0x4e202800,
	"scvtf v0.4s, v0.4s":           0x4e21d800,
	"sdot v0.4s, v0.16b, v0.16b":   0x4e809400,
	"sdot v0.4s, v0.16b, v0.4b[0]": 0x4f80e000,
	"sdot v0.4s, v0.16b, v0.4b[1]": 0x4fa0e000,
	"sdot v0.4s, v0.16b, v0.4b[2]": 0x4f80e800,
	"sdot v0.4s, v0.16b, v0.4b[3]": 0x4fa0e800,
	"smlal v0.8h, v0.8b, v0.8b":    0x0e208000,
	"smlal2 v0.8h, v0.16b, v0.16b": 0x4e208000,
	"smmla v0.4s, v0.16b, v0.16b":  0x4e80a400,
	"smull v0.8h, v0.8b, v0.8b":    0x0e20c000,
	"smull2 v0.8h, v0.16b, v0.16b": 0x4e20c000,
	"srshr v0.8h, v0.8h, #8":       0x4f182400,
	"sshr v0.4s, v0.4s, #24":       0x4f280400,
	"ushl v0.16b, v0.16b, v0.16b":  0x6e204400,
	"usmmla v0.4s, v0.16b, v0.16b": 0x4e80ac00,
}

// The words of the arm64 products encode the instructions in the comments after them, and
// no kernel has one that its set does not require.
func TestProductWords(t *testing.T) {
	text, err := os.ReadFile("product_neon_arm64.s")
	if err != nil {
		t.Fatal(err)
	}
	word := regexp.MustCompile(`^\tWORD \$0x([0-9a-f]{8}) // (.+)$`)
	register := regexp.MustCompile(`\bv(\d+)`)
	used := map[string]bool{}
	function := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if name, ok := strings.CutPrefix(line, "TEXT "); ok {
			function, _, _ = strings.Cut(name, "(")
		}
		if !strings.Contains(line, "WORD") {
			continue
		}
		m := word.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("%s: %q has no instruction beside the word", function, line)
		}
		shape := register.ReplaceAllString(m[2], "v0")
		want, ok := armWords[shape]
		if !ok {
			t.Fatalf("%s: no golden encoding of %q", function, shape)
		}
		used[shape] = true
		for i, r := range register.FindAllStringSubmatch(m[2], -1) {
			n, err := strconv.ParseUint(r[1], 10, 5)
			if err != nil {
				t.Fatalf("%s: %q: %v", function, line, err)
			}
			want |= uint32(n) << [...]int{0, 5, 16}[i]
		}
		got, err := strconv.ParseUint(m[1], 16, 32)
		if err != nil || uint32(got) != want {
			t.Errorf("%s: %q should be %#08x", function, line, want)
		}
		sdot := strings.Contains(function, "DotProd") || strings.Contains(function, "I8MM")
		if strings.HasPrefix(shape, "sdot") && !sdot ||
			strings.Contains(shape, "smmla") && !strings.Contains(function, "I8MM") {
			t.Errorf("%s has %q", function, line)
		}
	}
	for shape := range armWords {
		if !used[shape] {
			t.Errorf("%q is nowhere used", shape)
		}
	}
}
