package vocab

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// loadByteLevel reads a byte-level BPE from tokenizer.json, or from vocab.json
// and merges.txt, with the added tokens of every file.
func (s *source) loadByteLevel(v *Vocab) error {
	v.Model = ByteLevel
	t := newTokenTable(v)
	var err error
	if s.tokenizer != nil {
		t.base, err = s.vocabulary(len(v.Tokens))
		if err != nil {
			return err
		}
		if v.Pre, err = s.preTokenizer(); err != nil {
			return err
		}
		v.WholeWords = s.tokenizer.Model.IgnoreMerges && !s.rebuilds()
	} else {
		if t.base, err = s.vocabJSON(len(v.Tokens)); err != nil {
			return err
		}
		if v.Pre, err = s.preBySize(len(t.base)); err != nil {
			return err
		}
	}
	for _, e := range t.base {
		t.ids[e.text] = e.id
		v.Tokens[e.id], v.Types[e.id] = e.text, Normal
	}
	if err := s.addTokens(t); err != nil {
		return err
	}
	for _, a := range t.added {
		text := a.Content
		if !a.normalized() {
			text = decodeBytes(text)
		}
		id := t.ids[a.Content]
		if a.Special || looksSpecial(text) {
			v.Tokens[id], v.Types[id] = text, Control
		} else {
			v.Tokens[id], v.Types[id] = strings.ReplaceAll(text, space, " "), UserDefined
		}
	}
	v.setFlags(t.added, t.ids)
	if err := s.loadMerges(v, t.ids); err != nil {
		return err
	}
	return s.checkPipeline(v)
}

// vocabJSON reads vocab.json.
func (s *source) vocabJSON(size int) ([]entry, error) {
	const file = "vocab.json"
	var list entries
	ok, err := readJSON(s.dir, file, &list)
	if err != nil {
		return nil, err
	}
	if !ok {
		if s.known.Tiktoken != "" {
			return nil, s.errorf("", "no tokenizer: expected %s", s.known.Tiktoken)
		}
		return nil, s.errorf("", "no tokenizer: expected tokenizer.model, tokenizer.json, or vocab.json and merges.txt")
	}
	return list, s.checkSize(file, list, size)
}

// tokenTable collects the tokens of a byte-level BPE by text.
type tokenTable struct {
	v     *Vocab
	base  []entry // the model's own tokens
	ids   map[string]int
	added map[string]*addedToken
	last  int // the greatest id of an added token
}

func newTokenTable(v *Vocab) *tokenTable {
	return &tokenTable{v: v, ids: make(map[string]int), added: make(map[string]*addedToken)}
}

// addTokens collects the added tokens, file by file, in transformers' order. A later file overrides the flags of a
// token, but one that is special stays so. The added tokens of tokenizer_config.json come instead of those of
// added_tokens.json and of the roles of special_tokens_map.json.
func (s *source) addTokens(t *tokenTable) error {
	add := func(file string, a addedToken) error {
		if err := t.add(a); err != nil {
			return s.errorf(file, "added token %q %v", a.Content, err)
		}
		return nil
	}
	decoded := s.config != nil && s.config.Added != nil
	if s.tokenizer != nil && (!decoded || !s.rebuilds()) {
		for _, a := range s.tokenizer.AddedTokens {
			if a.ID == nil {
				return s.errorf(jsonFile, "added token %q has no id", a.Content)
			}
			if err := add(jsonFile, a); err != nil {
				return err
			}
		}
	}

	named, file := s.namedTokens()
	list, from := s.addedFile(named), "added_tokens.json"
	if decoded {
		var err error
		if list, err = s.decoder(); err != nil {
			return err
		}
		from = configFile
	}
	for _, a := range list {
		if err := add(from, a); err != nil {
			return err
		}
	}
	for _, a := range named {
		if _, ok := t.added[a.Content]; !ok && a.Content != "" {
			a.ID = nil
			if err := add(file, a.addedToken); err != nil {
				return err
			}
		}
	}
	return nil
}

// addedFile returns the tokens of added_tokens.json, without those that tokenizer.json adds, in the order of their
// ids. They are special if they are named.
func (s *source) addedFile(named []specialToken) []addedToken {
	special, have := make(map[string]bool), make(map[string]bool)
	for _, a := range named {
		special[a.Content] = true
	}
	if s.tokenizer != nil {
		for _, a := range s.tokenizer.AddedTokens {
			have[a.Content] = true
		}
	}
	var out []addedToken
	for _, e := range s.added {
		if !have[e.text] {
			id := int64(e.id)
			out = append(out, addedToken{ID: &id, Content: e.text, Special: special[e.text]})
		}
	}
	slices.SortFunc(out, func(a, b addedToken) int { return cmp.Compare(*a.ID, *b.ID) })
	return out
}

// namedTokens lists the tokens that have a role or are called special, in the
// order in which loaders number those that no vocabulary has, and the file that
// names most. special_tokens_map.json counts only without added_tokens_decoder,
// and then more than tokenizer_config.json.
func (s *source) namedTokens() (tokens []specialToken, file string) {
	c := s.config
	if c == nil {
		return s.specialMap.list(), "special_tokens_map.json"
	}
	roles := c.specialTokens
	if c.Added == nil {
		roles = s.specialMap.or(roles)
	}
	more := c.Extra
	if len(more) == 0 {
		more = c.Additional
	}
	tokens = roles.list()
	for _, text := range c.Own {
		tokens = append(tokens, special(text))
	}
	return append(tokens, more...), configFile
}

// or returns t with the roles that it leaves open filled from u.
func (t specialTokens) or(u specialTokens) specialTokens {
	for _, p := range []struct{ to, from *specialToken }{
		{&t.BOS, &u.BOS}, {&t.EOS, &u.EOS}, {&t.Unk, &u.Unk}, {&t.Sep, &u.Sep},
		{&t.Pad, &u.Pad}, {&t.Cls, &u.Cls}, {&t.Mask, &u.Mask},
	} {
		if p.to.Content == "" {
			*p.to = *p.from
		}
	}
	return t
}

// add enters an added token. One that the model's vocabulary lacks is numbered
// after it and after the added tokens so far, as the tokenizers library does
// whatever id a file claims; a file that claims another id is refused.
func (t *tokenTable) add(a addedToken) error {
	if a.Content == "" {
		return nil
	}
	id, known := t.ids[a.Content]
	if !known {
		id = max(len(t.base), t.last+1)
	}
	switch {
	case a.ID != nil && int64(id) != *a.ID:
		return fmt.Errorf("has the id %d, but loaders number it %d", *a.ID, id)
	case id >= len(t.v.Tokens):
		return fmt.Errorf("has the id %d, but vocab_size is %d", id, len(t.v.Tokens))
	case !known && t.v.Types[id] != Unused:
		return fmt.Errorf("has the id %d, which is that of %q", id, t.v.Tokens[id])
	}
	if before := t.added[a.Content]; before != nil {
		a.Special = a.Special || before.Special
	}
	t.ids[a.Content] = id
	t.added[a.Content] = &a
	t.last = max(t.last, id)
	t.v.Tokens[id], t.v.Types[id] = a.Content, UserDefined
	return nil
}

// looksSpecial tells whether an added token is a control token whatever its file
// says, as llama.cpp's converter judges by the text.
func looksSpecial(text string) bool {
	for _, p := range []struct{ prefix, suffix string }{
		{"<|", "|>"},
		{"<\uff5c", "\uff5c>"},
		{"<unused", ">"},
	} {
		if strings.HasPrefix(text, p.prefix) && strings.HasSuffix(text, p.suffix) {
			return true
		}
	}
	return slices.Contains([]string{"<pad>", "<mask>", "<2mass>", "[@BOS@]"}, text)
}

// loadMerges reads the merges and checks them against the tokens.
func (s *source) loadMerges(v *Vocab, ids map[string]int) error {
	var list []merge
	file := "tokenizer.json"
	if s.tokenizer != nil {
		var err error
		if list, err = s.merges(); err != nil {
			return err
		}
	}
	if len(list) == 0 {
		file = "merges.txt"
		var err error
		if list, err = s.mergesTxt(); err != nil {
			return err
		}
	}
	v.Merges = make([]string, len(list))
	for i, m := range list {
		for _, text := range []string{m.left, m.right, m.left + m.right} {
			if _, ok := ids[text]; !ok {
				return s.errorf(file, "merge %d, %q with %q: %q is not in the vocabulary", i, m.left, m.right, text)
			}
		}
		// A space inside a token would look like the one between the two.
		left, right := strings.ReplaceAll(m.left, " ", ByteRunes[' ']), strings.ReplaceAll(m.right, " ", ByteRunes[' '])
		v.Merges[i] = left + " " + right
	}
	return nil
}

// mergesTxt reads merges.txt: a line "#version..." that may be missing, then a
// merge on each line.
func (s *source) mergesTxt() ([]merge, error) {
	const file = "merges.txt"
	text, ok, err := readText(s.dir, file)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, s.errorf(file, "not found, and no other file has merges")
	}
	var out []merge
	line := 0
	for l := range strings.Lines(string(text)) {
		line++
		f := strings.Fields(l)
		switch {
		case line == 1 && strings.HasPrefix(l, "#"), len(f) == 0:
		case len(f) == 2:
			out = append(out, merge{f[0], f[1]})
		default:
			return nil, s.errorf(file, "line %d has %d words, expected two tokens", line, len(f))
		}
	}
	return out, nil
}

// ByteRunes is GPT-2's alphabet: the character that stands for each byte.
// Printable bytes stand for themselves, the others are numbered from U+0100.
var ByteRunes = func() (table [256]string) {
	next := rune(0x100)
	for b := range table {
		r := rune(b)
		if b <= ' ' || b > '~' && b < 0xA1 || b == 0xAD {
			r = next
			next++
		}
		table[b] = string(r)
	}
	return table
}()

var runeBytes = func() map[rune]byte {
	table := make(map[rune]byte)
	for b, s := range ByteRunes {
		r, _ := utf8.DecodeRuneInString(s)
		table[r] = byte(b)
	}
	return table
}()

// AppendBytes appends what a text in GPT-2's alphabet stands for. Where a character is not
// in the alphabet ok is false, and dst as it was.
func AppendBytes(dst []byte, text string) (out []byte, ok bool) {
	out = dst
	for _, r := range text {
		b, ok := runeBytes[r]
		if !ok {
			return dst, false
		}
		out = append(out, b)
	}
	return out, true
}

// decodeBytes turns a text in GPT-2's alphabet into what it stands for. A text
// that is not in the alphabet, or stands for no UTF-8, is returned as it is.
func decodeBytes(text string) string {
	out, ok := AppendBytes(nil, text)
	if !ok || !utf8.Valid(out) {
		return text
	}
	return string(out)
}
