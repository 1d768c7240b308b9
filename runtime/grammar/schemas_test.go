package grammar_test

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/phi3conv/phi3conv/runtime/grammar"
	"github.com/phi3conv/phi3conv/runtime/grammar/jsonschema"
)

// Walks find the same as plain ones: in schemas, with every vocabulary.
func TestWalksOfSchemas(t *testing.T) {
	text, err := os.ReadFile("jsonschema/testdata/schemas.txt")
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(9, 10))
	all := grammar.Vocabularies(t)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		v := all[name]
		walks := 0
		for line := range bytes.Lines(text) {
			if random.IntN(3) != 0 || line[0] == '#' || len(line) < 2 {
				continue
			}
			g, err := jsonschema.Compile(line, jsonschema.Options{})
			if err != nil {
				t.Fatal(err)
			}
			a, err := grammar.New(g, v)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				_ = a.Write(random, 40)
			}
			n, err := a.CheckWalks()
			if walks += n; err != nil {
				t.Fatalf("%s: %s\n%v", name, line, err)
			}
		}
		if t.Logf("%s: %d walks", name, walks); walks < 1000 {
			t.Error("too little is compared")
		}
	}
}
