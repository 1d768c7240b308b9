package jsonschema

import (
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/phi3conv/phi3conv/runtime/grammar"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
)

func TestLocal(t *testing.T) {
	path := os.Getenv("LOCAL_MODEL")
	if path == "" {
		t.Skip()
	}
	tok, err := tokenizer.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	v := grammar.NewVocabulary(tok, tok.VocabSize())
	t.Logf("vocabulary %d: %v", tok.VocabSize(), time.Since(start))
	for _, schema := range []string{
		`{"type":"object"}`,
		`{"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer","minimum":0},"email":{"type":"string","format":"email"},"tags":{"type":"array","items":{"type":"string","maxLength":40},"maxItems":10}},"required":["name","age","email","tags"],"additionalProperties":false}`,
		`{"type":"string","maxLength":500}`,
		`{"type":"object","additionalProperties":{"type":"string","pattern":"^[a-z ]{1,200}$"}}`,
	} {
		start := time.Now()
		g, err := Compile([]byte(schema), Options{})
		if err != nil {
			t.Fatal(err)
		}
		a, err := grammar.New(g, v)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("compiled in %v", time.Since(start))
		random := rand.New(rand.NewPCG(1, 1))
		for round := range 4 {
			c := a.Constraint([]int32{2})
			set := make([]uint64, (tok.VocabSize()+63)/64)
			var allow, accept, worst time.Duration
			n := 0
			for n < 150 {
				s := time.Now()
				if err := c.Allow(set); err != nil {
					t.Fatal(err)
				}
				d := time.Since(s)
				allow += d
				worst = max(worst, d)
				var all []int32
				for id := range int32(tok.VocabSize()) {
					if set[id/64]>>(id%64)&1 != 0 {
						all = append(all, id)
					}
				}
				id := all[random.IntN(len(all))]
				n++
				if id == 2 {
					break
				}
				s = time.Now()
				c.Accept(id)
				accept += time.Since(s)
			}
			t.Logf("round %d: %d tokens, Allow %v, worst %v, Accept %v", round, n, allow/time.Duration(n), worst, accept/time.Duration(n))
		}
		t.Log(a)
	}
}
