package jsonschema

import (
	"os"
	"testing"

	"github.com/phi3conv/phi3conv/runtime/grammar"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
)

// firsts are schemas with answers, as a model writes them.
var firsts = []struct{ name, schema, answer string }{
	{"person", `{"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer"}},` +
		`"required":["name","age"]}`, `{"name": "Anna Karenina", "age": 28}`},
	{"enum", `{"type":"object","properties":{"sentiment":{"enum":["positive","neutral","negative"]},` +
		`"confidence":{"type":"number","minimum":0,"maximum":1}},"required":["sentiment","confidence"]}`,
		`{"sentiment": "positive", "confidence": 0.875}`},
	{"list", `{"type":"array","items":{"type":"string"},"minItems":2,"maxItems":8}`,
		`["Paris is the capital of France", "Berlin", "Rome"]`},
	{"any", `{"type":"object","additionalProperties":true}`,
		`{"city": "Paris", "population": 2102650, "rivers": ["Seine"], "capital": true}`},
	{"event", `{"type":"object","properties":{"when":{"type":"string","format":"date-time"},` +
		`"who":{"type":"string","format":"email"}},"required":["when","who"]}`,
		`{"when": "2026-11-30T19:15:31Z", "who": "anna@example.com"}`},
	{"tree", `{"$defs":{"tree":{"type":"object","properties":{"name":{"type":"string"},"children":{"type":"array",` +
		`"items":{"$ref":"#/$defs/tree"}}},"required":["name"]}},"$ref":"#/$defs/tree"}`,
		`{"name": "root", "children": [{"name": "left", "children": []}, {"name": "right"}]}`},
	{"pattern", `{"type":"object","properties":{"phone":{"type":"string",` +
		`"pattern":"^\\+[0-9]{2} [0-9]{3} [0-9]{4,8}$"}},"required":["phone"]}`, `{"phone": "+49 030 1234567"}`},
	{"union", `{"anyOf":[{"type":"object","properties":{"error":{"type":"string"}},"required":["error"]},` +
		`{"type":"object","properties":{"value":{"type":"number"},"unit":{"type":"string"}},"required":["value"]}]}`,
		`{"value": 21.5, "unit": "degrees Celsius"}`},
	{"title", `{"type":"object","properties":{"title":{"type":"string","maxLength":40},"year":{"type":"integer"}},` +
		`"required":["title","year"]}`, `{"title": "The Life and Opinions of a Tomcat", "year": 1821}`},
	{"codes", `{"type":"object","properties":{"code":{"type":"string","maxLength":30},"tags":{"type":"array",` +
		`"items":{"type":"string","minLength":2,"maxLength":20}}},"required":["code","tags"]}`,
		`{"code": "AX-0042-1187-9930-5512", "tags": ["used books", "shipping today", "fragile"]}`},
}

// BenchmarkFirst tells how much of the time of a first answer it takes to find which tokens may come, where a token
// takes a model 10 ms. TOKENIZER is the directory of a model, for a vocabulary of the usual size.
func BenchmarkFirst(b *testing.B) {
	w := open(b)
	if dir := os.Getenv("TOKENIZER"); dir != "" {
		tok, err := tokenizer.Open(dir)
		if err != nil {
			b.Fatal(err)
		}
		w = &wordList{grammar.NewVocabulary(tok, tok.VocabSize()), tok, tok.VocabSize(), nil}
	}
	set := make([]uint64, (w.size+63)/64)
	for _, f := range firsts {
		b.Run(f.name, func(b *testing.B) {
			ids := w.tok.Encode(f.answer, tokenizer.EncodeOptions{})
			for range b.N {
				b.StopTimer()
				c := compileFor(b, w, f.schema).Constraint([]int32{stop})
				b.StartTimer()
				for _, id := range ids {
					if err := c.Allow(set); err != nil {
						b.Fatal(err)
					}
					c.Accept(id)
				}
				if !c.Complete() {
					b.Fatal("the answer is not complete")
				}
			}
			b.ReportMetric(100*b.Elapsed().Seconds()/float64(b.N)/(0.010*float64(len(ids))), "%")
		})
	}
}
