package main

import (
	"reflect"
	"strings"
	"testing"
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
		if got := flagsFirst(strings.Fields(c.in), commands()); !reflect.DeepEqual(got, strings.Fields(c.want)) {
			t.Errorf("%s: %v", c.in, got)
		}
	}
}
