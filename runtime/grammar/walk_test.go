package grammar

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
)

// plainWalk is walk in the plainest way: byte by byte and token by token.
func (a *Automaton) plainWalk(starts []int32, g *group) (tokens map[int32]bool, exits []int32) {
	begin := a.node([]ret{{g, a.frame(nil, true)}})
	tokens = map[int32]bool{}
	for _, start := range starts {
		for _, r := range begin.all {
			for _, t := range r.g.tokens {
				for _, id := range a.tokens[t.token] {
					tokens[id] = tokens[id] || start == 0
				}
			}
		}
		path := []*node{begin}
		for i := start; i < a.v.nodes[start].skip; i++ {
			t := &a.v.nodes[i]
			if i > start {
				depth := int(t.depth - a.v.nodes[start].depth)
				path = append(path[:depth], a.read(path[depth-1], a.class[t.b]))
			}
			at := path[len(path)-1]
			if at == deadNode {
				continue
			}
			if at.ends && t.skip > i+1 {
				exits = append(exits, i)
			}
			for _, id := range a.v.ids[t.from:t.to] {
				tokens[id] = tokens[id] || i > start
			}
		}
	}
	return tokens, exits
}

// CheckWalks compares all walks that were done with plain ones, and returns how many there are.
func (a *Automaton) CheckWalks() (n int, err error) {
	var check func(starts []int32, walks map[*group]*walk)
	check = func(starts []int32, walks map[*group]*walk) {
		for g, w := range walks {
			a.steps = maxSteps
			n++
			want, exits := a.plainWalk(starts, g)
			got := make([]uint64, (a.v.size+63)/64)
			copy(got, w.set)
			set(got, w.few)
			for id := range int32(a.v.size) {
				if got[id/64]>>(id%64)&1 != 0 != want[id] {
					err = fmt.Errorf("token %d %q: expected %v", id, a.v.text(id), want[id])
				}
			}
			if !slices.Equal(w.exits, exits) {
				err = fmt.Errorf("exits %v, expected %v", w.exits, exits)
			}
			check(w.exits, w.next)
		}
	}
	check([]int32{0}, a.walks)
	return n, err
}

// Vocabularies are all that the tests have.
func Vocabularies(t testing.TB) map[string]*Vocabulary {
	t.Helper()
	dirs, err := filepath.Glob("../tokenizer/testdata/*/config.json")
	if err != nil || len(dirs) < 8 {
		t.Fatalf("%d tokenizers, %v", len(dirs), err)
	}
	all := map[string]*Vocabulary{}
	for _, dir := range append(dirs, filepath.Join(testmodel.Phi3(t), "config.json")) {
		tok, err := tokenizer.Open(filepath.Dir(dir))
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(filepath.Dir(dir))] = NewVocabulary(tok, tok.VocabSize())
	}
	return all
}

// Write lets chance write an answer of at most most tokens.
func (a *Automaton) Write(random *rand.Rand, most int) error {
	c := a.Constraint([]int32{0})
	set := make([]uint64, (a.v.size+63)/64)
	for range most {
		if err := c.Allow(set); err != nil {
			return err
		}
		var ids []int32
		for id := range int32(a.v.size) {
			if set[id/64]>>(id%64)&1 != 0 && (id != 0 || !c.at.ends) {
				ids = append(ids, id)
			}
		}
		if len(ids) == 0 {
			return nil
		}
		c.Accept(ids[random.IntN(len(ids))])
	}
	return nil
}

// randomExpr is one in GBNF.
func randomExpr(random *rand.Rand, depth int) string {
	if depth == 0 {
		return []string{`"a"`, `"the "`, `[a-z ]`, `[^"]`, `.`, `[ä-ü0-9]`, "x", "y", "<[5]>", `"\""`}[random.IntN(10)]
	}
	sub := func() string { return randomExpr(random, depth-1) }
	switch random.IntN(4) {
	case 0:
		return "(" + sub() + " | " + sub() + ")"
	case 1:
		return sub() + " " + sub()
	case 2:
		least := random.IntN(6)
		return fmt.Sprintf("(%s){%d,%d}", sub(), least, least+1+random.IntN(60/depth/depth))
	}
	return "(" + sub() + ")" + []string{"*", "?", "+"}[random.IntN(3)]
}

// Walks find the same as plain ones: in grammars at random, with every vocabulary.
func TestWalks(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	all := Vocabularies(t)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		v := all[name]
		walks, refused := 0, 0
		for walks < 500 {
			text := "root ::= " + randomExpr(random, 1+random.IntN(3)) + "\nx ::= " + randomExpr(random, 1) +
				" | \"-\" y\ny ::= " + strings.ReplaceAll(randomExpr(random, 2), "x", "root") + ` "y" | "z"`
			g, err := Parse(text)
			if err != nil {
				t.Fatalf("%s\n%v", text, err)
			}
			a, err := New(g, v)
			if err != nil { // rules that call themselves first, for one
				refused++
				continue
			}
			for range 3 {
				_ = a.Write(random, 30)
			}
			n, err := a.CheckWalks()
			if walks += n; err != nil {
				t.Fatalf("%s: %s\n%v", name, text, err)
			}
		}
		t.Logf("%s: %d walks, %d grammars refused", name, walks, refused)
	}
}
