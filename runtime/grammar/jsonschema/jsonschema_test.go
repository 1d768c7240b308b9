package jsonschema

import (
	"bufio"
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	validator "github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/runtime/grammar"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
)

// words are a model's vocabulary, for writers that choose at random.
type wordList struct {
	*grammar.Vocabulary
	tok  *tokenizer.Tokenizer
	size int
	ends []bool // by id: it may end a value or a string
}

const stop = 2 // id that ends a text

func open(t testing.TB) *wordList {
	t.Helper()
	tok, err := tokenizer.Open(testmodel.Phi3(t))
	if err != nil {
		t.Fatal(err)
	}
	w := &wordList{grammar.NewVocabulary(tok, tok.VocabSize()), tok, tok.VocabSize(), nil}
	for id := range int32(w.size) {
		w.ends = append(w.ends, id == stop || !tok.IsControl(id) && bytes.ContainsAny(tok.Bytes(id), "\"}]0"))
	}
	return w
}

// write lets chance write a text of at most most tokens. whole is false if it has not ended.
func (w *wordList) write(t testing.TB, a *grammar.Automaton, random *rand.Rand, most int) (text string, whole bool) {
	t.Helper()
	c := a.Constraint([]int32{stop})
	set := make([]uint64, (w.size+63)/64)
	var out []byte
	for n := range most {
		if err := c.Allow(set); err != nil {
			t.Fatalf("after %q: %v", out, err)
		}
		var all, ends []int32
		for id := range int32(w.size) {
			if set[id/64]>>(id%64)&1 != 0 {
				all = append(all, id)
				if w.ends[id] {
					ends = append(ends, id)
				}
			}
		}
		if len(ends) > 0 && (random.IntN(3) == 0 || n > 40) {
			all = ends
		}
		id := all[random.IntN(len(all))]
		if id == stop {
			return string(out), true
		}
		c.Accept(id)
		out = append(out, w.tok.Bytes(id)...)
	}
	return string(out), false
}

// schemas reads lines of JSON.
func schemas(t testing.TB, name string) []string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for s := bufio.NewScanner(bytes.NewReader(data)); s.Scan(); {
		if line := s.Text(); line != "" && !strings.HasPrefix(line, "#") {
			all = append(all, line)
		}
	}
	return all
}

func compileFor(t testing.TB, w *wordList, schema string) *grammar.Automaton {
	t.Helper()
	g, err := Compile([]byte(schema), Options{})
	if err != nil {
		t.Fatalf("%s\n%v", schema, err)
	}
	a, err := grammar.New(g, w.Vocabulary)
	if err != nil {
		t.Fatalf("%s\n%v", schema, err)
	}
	return a
}

func validatorOf(t testing.TB, schema string) *validator.Schema {
	t.Helper()
	doc, err := validator.UnmarshalJSON(strings.NewReader(schema))
	if err != nil {
		t.Fatalf("%s\n%v", schema, err)
	}
	c := validator.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatalf("%s\n%v", schema, err)
	}
	v, err := c.Compile("schema.json")
	if err != nil {
		t.Fatalf("%s\n%v", schema, err)
	}
	return v
}

// Whatever chance writes, another program finds that it matches the schema.
func TestValid(t *testing.T) {
	w := open(t)
	random := rand.New(rand.NewPCG(1, 1))
	all := schemas(t, "testdata/schemas.txt")
	if len(all) < 200 {
		t.Errorf("%d schemas, expected 200", len(all))
	}
	texts := 0
	for _, schema := range all {
		a, v := compileFor(t, w, schema), validatorOf(t, schema)
		whole := 0
		var seen []string
		for range 6 {
			text, ended := w.write(t, a, random, 200)
			if !ended {
				continue
			}
			whole++
			seen = append(seen, text)
			value, err := validator.UnmarshalJSON(strings.NewReader(text))
			if err == nil {
				err = v.Validate(value)
			}
			if err != nil || !json.Valid([]byte(text)) {
				t.Errorf("%s\n%s\n%v", schema, text, err)
			}
		}
		if whole < 3 {
			t.Errorf("%s: only %d of the texts ended", schema, whole)
		}
		texts += whole
		if slices.Sort(seen); testing.Verbose() {
			t.Log(schema, strings.Join(slices.Compact(seen)[:min(3, len(slices.Compact(seen)))], "  "))
		}
	}
	t.Logf("%d schemas, %d instances", len(all), texts)
}
