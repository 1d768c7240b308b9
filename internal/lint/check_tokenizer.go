package lint

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/vocab"
)

func noTokenizer(m *model, report reportFunc) {
	switch {
	case m.vocabErr != nil:
		report(errorFile(m.vocabErr, m.path), "%s", errorWhat(m.vocabErr))
	case m.isGGUF && m.md != nil && m.tokens == nil:
		report(tokensKey, "missing, empty or not an array of strings")
	case m.tokens != nil:
		for _, key := range m.tokens.wrong {
			v, _ := m.md.Get(key)
			report(key, "value of type %T", v)
		}
		if t := m.tokens.model; t != vocab.SentencePiece && t != vocab.ByteLevel &&
			!slices.Contains(m.tokens.wrong, modelKey) {
			report(modelKey, "%q, expected %q or %q", t, vocab.SentencePiece, vocab.ByteLevel)
		}
	}
}

func tokenCount(m *model, report reportFunc) {
	t := m.file.Tensor(arch.Embedding)
	if t != nil && len(t.Shape) == 2 && t.Shape[0] != uint64(len(m.tokens.tokens)) {
		report(tokensKey, "%d tokens, but %s has %d rows", len(m.tokens.tokens), arch.Embedding, t.Shape[0])
	}
}

func typesAndScores(m *model, report reportFunc) {
	t := m.tokens
	n := len(t.tokens)
	if len(t.types) != n {
		report(typesKey, "%d types for %d tokens", len(t.types), n)
	}
	for id, typ := range t.types {
		if typ < int32(vocab.Normal) || typ > int32(vocab.Byte) {
			report(typesKey, "token %d has type %d, expected %d to %d", id, typ, vocab.Normal, vocab.Byte)
			break
		}
	}
	if len(t.scores) != n && (t.model == vocab.SentencePiece || t.scores != nil) {
		report(scoresKey, "%d scores for %d tokens", len(t.scores), n)
	}
}

func duplicateTokens(m *model, report reportFunc) {
	t := m.tokens
	again := 0
	var example string
	for id, text := range t.tokens {
		if first := t.index[text]; first != id {
			if again++; again == 1 {
				example = fmt.Sprintf("%d and %d are both %q", first, id, text)
			}
		}
	}
	if again > 0 {
		report(tokensKey, "%d of %d repeat another: %s", again, len(t.tokens), example)
	}
}

func badMerges(m *model, report reportFunc) {
	t := m.tokens
	if t.model != vocab.ByteLevel {
		return
	}
	if len(t.merges) == 0 && slices.ContainsFunc(t.tokens, isMerged(t)) {
		report(mergesKey, "missing or empty")
	}
	bad, first := 0, 0
	for i, merge := range t.merges {
		// The first byte may be part of the left token even when it is a space.
		at := strings.IndexByte(merge[min(1, len(merge)):], ' ') + 1
		if at > 0 && t.has(merge[:at]) && t.has(merge[at+1:]) && t.has(merge[:at]+merge[at+1:]) {
			continue
		}
		if bad++; bad == 1 {
			first = i
		}
	}
	if bad > 0 {
		report(mergesKey, "%d of %d need tokens that are not in the vocabulary; the first is number %d, %q", bad,
			len(t.merges), first, t.merges[first])
	}
}

// isMerged returns whether a token is made of others: it is normal and longer than a byte, which is one character.
func isMerged(t *tokenizer) func(text string) bool {
	return func(text string) bool {
		id := t.index[text]
		return utf8.RuneCountInString(text) > 1 && (len(t.types) != len(t.tokens) || t.types[id] == int32(vocab.Normal))
	}
}

func preTokenizer(m *model, report reportFunc) {
	t := m.tokens
	if t.model != vocab.ByteLevel || (t.pre != "" && t.pre != "default") {
		return
	}
	found := "missing"
	if t.pre != "" {
		found = `"default"`
	}
	report(preKey, "%s, for a byte-level vocabulary of %d tokens", found, len(t.tokens))
}

// modelName returns general.name and whether llama.cpp takes it for a Phi-3.
func modelName(m *model) (name string, phi3 bool) {
	name, _ = m.md.Str("general.name")
	low := strings.ToLower(name)
	return name, strings.Contains(low, "phi-3") || strings.Contains(low, "phi3")
}

func nameWithoutPhi3(m *model, report reportFunc) {
	name, phi3 := modelName(m)
	if !phi3 && m.tokens.model == vocab.SentencePiece && m.tokens.isChat() {
		report("general.name", "%q", name)
	}
}

func nameWithPhi3(m *model, report reportFunc) {
	name, phi3 := modelName(m)
	if !phi3 || m.config != nil && m.config.Arch.Name == "phi3small" { // which llama.cpp does not load at all
		return
	}
	for _, token := range []string{"<unk>", "<s>", "</s>", "<|endoftext|>"} {
		if !m.tokens.has(token) {
			report("general.name", "%q, but the vocabulary has no %s", name, token)
			return
		}
	}
}

func maskedTokens(m *model, report reportFunc) {
	const key = "tokenizer.ggml.suppress_tokens"
	want := m.config.MaskedTokens()
	if len(want) == 0 {
		return
	}
	got, ok := m.md.Int32s(key)
	sorted := slices.Clone(got)
	slices.Sort(sorted)
	switch {
	case !ok:
		report(key, "missing, expected %d tokens", len(want))
	case !slices.Equal(sorted, want):
		report(key, "%d tokens, expected %d, from %d to %d", len(got), len(want), want[0], want[len(want)-1])
	}
}

func chatTokenTypes(m *model, report reportFunc) {
	t := m.tokens
	if len(t.types) != len(t.tokens) {
		return // typesAndScores reports it
	}
	for _, token := range append(templateSpecials(t.template), t.turnEnds()...) {
		id, ok := t.index[token]
		if !ok || t.types[id] == int32(vocab.Control) || t.types[id] == int32(vocab.UserDefined) {
			continue
		}
		report(token, "token %d has type %d, expected %d (control) or %d (user-defined)", id, t.types[id],
			vocab.Control, vocab.UserDefined)
	}
}

func tokenizerFiles(m *model, report reportFunc) {
	list, err := vocab.Disagreements(m.path, m.config.VocabSize)
	if err != nil {
		return // noTokenizer reports it
	}
	for _, d := range list {
		report(d.File, "%s", d.What)
	}
}
