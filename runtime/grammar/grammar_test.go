package grammar

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
)

// vocabulary is that of a tiny model, with ids beyond its tokens.
func vocabulary(t testing.TB) *Vocabulary {
	t.Helper()
	tok, err := tokenizer.Open(testmodel.Phi3(t))
	if err != nil {
		t.Fatal(err)
	}
	return NewVocabulary(tok, tok.VocabSize()+3)
}

func automaton(t testing.TB, v *Vocabulary, gbnf string) *Automaton {
	t.Helper()
	g, err := Parse(gbnf)
	if err != nil {
		t.Fatalf("%s\n%v", gbnf, err)
	}
	a, err := New(g, v)
	if err != nil {
		t.Fatalf("%s\n%v", gbnf, err)
	}
	return a
}

// matches reports whether a text is one of a grammar, reading it byte by byte.
func matches(a *Automaton, text string) (whole, begun bool) {
	n := a.first
	for _, b := range []byte(text) {
		a.limit()
		if n = a.read(n, a.class[b]); n == nil || n == deadNode {
			return false, false
		}
	}
	return n.ends, true
}

func TestTexts(t *testing.T) {
	v := vocabulary(t)
	for _, tc := range []struct {
		grammar, yes, begin, no string // texts are divided by spaces, _ stands for none
	}{
		{`root ::= "a" | "bc"`, "a bc", "_ b", "ab c"},
		{`root ::= "a"* "b"+ "c"?`, "b ab aabb bc", "_ a aa", "c bca abcc"},
		{`root ::= [a-c]{2,3} [^a-z]`, "ab1 abcÄ bc🎈", "a ab abc", "a1 abcd ab1x"},
		{`root ::= [ä-ü]{,2} "-"`, "- ä- öü-", "ä öü", "äöü ÿ"},
		{`root ::= .{3}`, "abc äöü 🎈🎈🎈", "a", "abcd"},
		{`root ::= "(" root ")" | "x"`, "x (x) (((x)))", "_ ( ((x) ", "() (x)) xx"},
		// Without reading to the end: all that is ambiguous.
		{"root ::= x\nx ::= \"a\" x \"b\" | \"a\" y \"c\"| \"\"\ny ::= x",
			"_ ab ac aabb aacb aabc aacc", "a aab", "abb b"},
		{"root ::= ws \"x\" ws\nws ::= [ \\t]* #comment\n", "x", "_", "y xx"},
		{"root ::= ws \"x\"\nws ::= \"-\" ws | \"\"", "x -x ----x", "_ -", "- - x-"},
		{"root ::= expr\nexpr ::= term (\"+\" term)*\nterm ::= [0-9]+ | (\"(\" expr\n \")\")",
			"1 1+2 (1+2)+33", "1+ (1", "+ 1) ()"},
		{`root ::= "\x41\u00e9\U0001F388" | "\"\\\[\]"`, `Aé🎈 "\[]`, `A "`, "B"},
		{`root ::= ("a" | "b")? ("c" | )`, "_ a ac bc c", "", "cc ab"},
		{`root ::= [a\]\-^-]+`, "a]-^ -", "_", "b"},
		{"root ::= a b\na ::= \"x\"?\nb ::= \"y\"?", "_ x y xy", "", "yx xx"},
		{"root ::= a a a\na ::= b | \"\"\nb ::= \"b\" a", "_ b bbbb", "", "a"},
	} {
		a := automaton(t, v, tc.grammar)
		check := func(list string, whole, begun bool) {
			for _, text := range strings.Fields(list) {
				text = strings.ReplaceAll(text, "_", "")
				w, b := matches(a, text)
				if w != whole || whole == false && b != begun {
					t.Errorf("%s: %q whole %v begun %v, expected %v, %v", tc.grammar, text, w, b, whole, begun)
				}
			}
		}
		check(tc.yes, true, true)
		check(tc.begin, false, true)
		for _, text := range strings.Fields(tc.no) {
			if w, _ := matches(a, text); w {
				t.Errorf("%s: %q is whole", tc.grammar, text)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	v := vocabulary(t)
	for grammar, want := range map[string]string{
		"":                                  "no rule root",
		"a ::= \"x\"":                       "no rule root",
		"root ::= x":                        "line 1: there is no rule x",
		"root ::= \"a\"\n\nroot ::= \"b\"":  "line 3: there are two rules root",
		"root = \"a\"":                      "expected ::=",
		"root ::= \"a":                      "closing",
		"root ::= [a":                       "without its ]",
		"root ::= (\"a\"":                   "expected )",
		"root ::= \"a\" )":                  "expected the end of rule root",
		"root ::= \"\\q\"":                  "expected one of",
		"root ::= \"\\xZ1\"":                "hexadecimal",
		"root ::= \"\\ud800\"":              "hexadecimal digits of a character",
		"root ::= [z-a]":                    "range of characters",
		"root ::= \"a\"{3,2}":               "repetition",
		"root ::= \"a\"{x}":                 "number of times",
		"root ::= \"a\"{9999999999999999}":  "repetition",
		"root ::= ((\"a\"{1000}){1000}){9}": "more than 200000 states",
		"root ::= root \"a\" | \"b\"":       "rule root calls itself",
		"root ::= a? b\na ::= \"x\"\nb ::= c*\nc ::= a? b \"y\"": "rule b calls itself before it has read anything (" +
			"through b, c)",
		"root ::= \"a\" root":                        "no text matches",
		"root ::= <|nosuch|>":                        "token <|nosuch|>, which the model's vocabulary lacks",
		"root ::= <[9999999]>":                       "token 9999999",
		"root ::= <[x]>":                             "id of a token",
		"root ::= !<a>":                              "a token that is not",
		"root ::= \xff":                              "UTF-8",
		strings.Repeat("(", 1000):                    "expected the name",
		"root ::= " + strings.Repeat("(", 1000):      "nested",
		"root ::= \"a\"" + strings.Repeat("*", 1000): "too many signs",
	} {
		g, err := Parse(grammar)
		if err == nil {
			_, err = New(g, v)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, expected %q", grammar, err, want)
		}
	}
}

// allowed lists the tokens that may come.
func allowed(t testing.TB, c *Constraint) []int32 {
	set := make([]uint64, (c.a.v.size+63)/64)
	if err := c.Allow(set); err != nil {
		t.Fatal(err)
	}
	var ids []int32
	for id := range int32(c.a.v.size) {
		if set[id/64]>>(id%64)&1 != 0 {
			ids = append(ids, id)
		}
	}
	return ids
}

// The tokens that are allowed are those after which a text can still become one of the grammar.
func TestAllow(t *testing.T) {
	v := vocabulary(t)
	random := rand.New(rand.NewPCG(1, 2))
	for _, grammar := range []string{
		`root ::= "The dog " [a-z ]{0,40} "." | "[" root ("," root)* "]"`,
		"root ::= [^\"]{3,60} \"!\"", "root ::= (\"the \" | [a-z]+ \" \" | .){2,50}",
		"root ::= x\nx ::= \"a\" x \"b\" | \"a\" y \"c\"| \"\"\ny ::= x",
		"root ::= s (\" \" s)*\ns ::= w w?\nw ::= [a-z]+ | \"(\" root \")\"",
		"root ::= ([a-z]{1,30} \" \"){2,25} <|end|> \"x\"{0,100}",
	} {
		a := automaton(t, v, grammar)
		for range 3 {
			c := a.Constraint([]int32{2})
			for range 20 {
				ids := allowed(t, c)
				for id := range int32(v.size) {
					want := id == 2 && c.at.ends
					if text := v.text(id); id != 2 && len(text) > 0 {
						n := c.at
						for _, b := range text {
							n = a.read(n, a.class[b])
						}
						want = n != deadNode
					}
					if v.tok.Token(id) == "<|end|>" {
						want = a.take(c.at, id) != deadNode
					}
					if got := slices.Contains(ids, id); got != want {
						t.Fatalf("%s: token %d %q allowed: %v, expected %v", grammar, id, v.text(id), got, want)
					}
				}
				id := ids[random.IntN(len(ids))]
				if id == 2 {
					break
				}
				c.Accept(id)
			}
		}
	}
}

// A token that is structure comes only where the grammar names it, and an end only where the text is complete.
func TestTokens(t *testing.T) {
	v := vocabulary(t)
	end := v.tok.Encode("<|end|>", tokenizer.EncodeOptions{ParseSpecial: true})[0]
	a := automaton(t, v, fmt.Sprintf(`root ::= <|end|> "a" <[%d]> | "b"`, end))
	c := a.Constraint([]int32{2})
	ids := allowed(t, c)
	if !slices.Contains(ids, end) || slices.Contains(ids, 2) {
		t.Errorf("%v", ids)
	}
	c.Accept(end)
	for _, id := range allowed(t, c) {
		if string(v.text(id)) != "a" {
			t.Errorf("%q", v.text(id))
		}
	}
	c.Accept(allowed(t, c)[0])
	if got := allowed(t, c); !slices.Equal(got, []int32{end}) || c.Complete() {
		t.Errorf("%v", got)
	}
	c.Accept(end)
	if got := allowed(t, c); !slices.Equal(got, []int32{2}) || !c.Complete() {
		t.Errorf("%v", got)
	}
	c.Accept(end)
	if err := c.Allow(make([]uint64, (v.size+63)/64)); err == nil {
		t.Error("no error after a token that was not allowed")
	}
}

// Grammars with exponentially many readings take polynomial time, or are refused; the steps of a token are bounded.
func TestHostile(t *testing.T) {
	v := vocabulary(t)
	for _, grammar := range []string{
		"root ::= (a | b | c)*\na ::= \"a\" root \"x\"\nb ::= \"a\" root \"y\"\nc ::= \"a\" d\nd ::= root",
		"root ::= ((\"a\"*)*)* \"b\"", "root ::= (\"a\" | \"a\" \"a\" | root2)*\nroot2 ::= \"a\" root \"a\"",
		"root ::= s\ns ::= \"a\" | \"a\" s s | \"aa\" s s s",
		"root ::= (\"a\" | [a-b])* \"a\" [a-b]{200}",
		"root ::= (\"a\"{0,60}){0,60} \"b\"", "root ::= \"a\"{0,100000}", "root ::= [^a]{5000,90000} \"b\"",
	} {
		start := time.Now()
		g, err := Parse(grammar)
		if err != nil {
			t.Fatal(err)
		}
		a, err := New(g, v)
		if err != nil {
			t.Logf("%s: %v", grammar, err)
			continue
		}
		c := a.Constraint([]int32{2})
		set := make([]uint64, (v.size+63)/64)
		random := rand.New(rand.NewPCG(3, 4))
		for range 40 {
			if err := c.Allow(set); err != nil {
				t.Logf("%s: %v", grammar, err)
				break
			}
			if a.steps < 0 {
				t.Errorf("%s: %d steps too many", grammar, -a.steps)
			}
			var ids []int32
			for id := range int32(v.size) {
				if id != 2 && set[id/64]>>(id%64)&1 != 0 {
					ids = append(ids, id)
				}
			}
			if len(ids) == 0 {
				break
			}
			c.Accept(ids[random.IntN(len(ids))])
		}
		t.Logf("%s: %v, %v", grammar, time.Since(start), a)
	}
}

// Ranges of characters are those of their UTF-8.
func TestSequences(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		first := rune(random.IntN(1 << (1 + random.IntN(20))))
		last := min(first+rune(random.IntN(1<<(1+random.IntN(20)))), 0x10FFFF)
		var pattern []string
		sequences(first, last, func(seq [][2]byte) {
			s := ""
			for _, r := range seq {
				s += fmt.Sprintf("[\\x{%x}-\\x{%x}]", r[0], r[1])
			}
			pattern = append(pattern, s)
		})
		re := regexp.MustCompile("^(" + strings.Join(pattern, "|") + ")$")
		for range 50 {
			r := rune(random.IntN(0x110000))
			if random.IntN(2) == 0 {
				r = []rune{first - 1, first, last, last + 1, 0xD7FF, 0xE000}[random.IntN(6)]
			}
			if r < 0 || r > 0x10FFFF || r >= 0xD800 && r <= 0xDFFF {
				continue
			}
			latin := ""
			for _, b := range []byte(string(r)) {
				latin += string(rune(b))
			}
			if got, want := re.MatchString(latin), r >= first && r <= last; got != want {
				t.Fatalf("%#x in %#x to %#x: %v", r, first, last, got)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"root ::= \"a\" | [b-d]* (x | y){2,3}\nx ::= .\ny ::= <|end|>", "root ::= \"\\x41\\n\" # c\n",
		"root ::= [^\"\\\\]+",
	} {
		f.Add(s, "abc")
	}
	v := vocabulary(f)
	f.Fuzz(func(t *testing.T, text, input string) {
		g, err := Parse(text)
		if err != nil {
			return
		}
		a, err := New(g, v)
		if err != nil {
			return
		}
		matches(a, input)
		if err := a.Constraint(nil).Allow(make([]uint64, (v.size+63)/64)); err != nil && !a.first.ends {
			t.Logf("%q: %v", text, err)
		}
	})
}
