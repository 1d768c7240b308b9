package main

import (
	"reflect"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/cmdline"
	"github.com/phi3conv/phi3conv/internal/testmodel"
)

func TestFlagsFirst(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"phi3conv convert DIR -o F --type Q4_0", "phi3conv convert -o F --type Q4_0 DIR"},
		{"phi3conv convert DIR --pure X --type=Q4_0", "phi3conv convert --pure --type=Q4_0 DIR X"},
		{"phi3conv quantize A B Q4_0 2", "phi3conv quantize A B Q4_0 2"},
		{"phi3conv convert -- DIR -o", "phi3conv convert -- DIR -o"},
		{"phi3conv nonsense A -b", "phi3conv nonsense A -b"},
		{"phi3conv", "phi3conv"},
	} {
		if got := cmdline.FlagsFirst(strings.Fields(c.in), commands()); !reflect.DeepEqual(got, strings.Fields(c.want)) {
			t.Errorf("%s: %v", c.in, got)
		}
	}
}

// A flag with an empty value is a mistake, but for text in which nothing is something.
func TestEmptyFlags(t *testing.T) {
	for _, line := range []string{
		"convert m --stats", "quantize a b --method", "eval m --base", "verify m --seal", "verify merge --report",
	} {
		args := strings.Fields(line)
		flag := args[len(args)-1]
		_, stderr, code := phi3conv(t, append(args, "")...)
		if code != exitUsage || !strings.Contains(stderr, flag+" needs a value") {
			t.Errorf("%s: exit %d, %s", line, code, stderr)
		}
	}
	if _, stderr, code := phi3conv(t, "tokenize", testmodel.Phi3(t), "--prompt", ""); code != exitOK {
		t.Errorf("an empty prompt: exit %d, %s", code, stderr)
	}
}
