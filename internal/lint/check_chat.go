package lint

import (
	"regexp"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/internal/vocab"
)

var (
	special     = regexp.MustCompile(`<\|[A-Za-z0-9_/-]+\|>`)
	beginsBOS   = regexp.MustCompile(`^\s*\{\{-?\s*bos_token\b`)
	endOfText   = "<|endoftext|>"
	assistant   = "<|assistant|>"
	phi4TurnEnd = "<|im_end|>"
	phi4Only    = "<|im_sep|>"
)

// templateSpecials returns the special tokens that a template writes out, each
// once and sorted.
func templateSpecials(template string) []string {
	found := special.FindAllString(template, -1)
	slices.Sort(found)
	return slices.Compact(found)
}

func noEOS(m *model, report reportFunc) {
	if !slices.ContainsFunc(m.tokens.ids, func(s specialID) bool { return s.role == "eos" }) {
		report("tokenizer.ggml.eos_token_id", "missing")
	}
}

func idRange(m *model, report reportFunc) {
	reported := ""
	for _, s := range m.tokens.ids {
		if n := len(m.tokens.tokens); (s.id < 0 || s.id >= int64(n)) && s.key != reported {
			report(s.key, "%d, expected 0 to %d", s.id, n-1)
			reported = s.key // once for a list
		}
	}
}

func turnEndGGUF(m *model, report reportFunc) {
	if !isPhi4FirstRelease(m.tokens) { // which has a check of its own
		missingTurnEnds(m.tokens, report)
	}
}

func turnEndCheckpoint(m *model, report reportFunc) { missingTurnEnds(m.tokens, report) }

func missingTurnEnds(t *tokenizer, report reportFunc) {
	for _, token := range t.turnEnds() {
		if !t.stopsAt(token) {
			report(token, "token %d is not among the stop ids %d", t.index[token], t.stops)
		}
	}
}

func otherEnds(m *model, report reportFunc) {
	t := m.tokens
	for _, token := range []string{endOfText, assistant} {
		// Only Phi-3's SentencePiece models stop at <|assistant|>.
		if !t.has(token) || t.stopsAt(token) || (token == assistant && t.model != vocab.SentencePiece) {
			continue
		}
		report(token, "token %d is not among the stop ids %d", t.index[token], t.stops)
	}
}

func isPhi4FirstRelease(t *tokenizer) bool {
	eos, ok := t.id("eos")
	return ok && t.has(phi4Only) && t.has(phi4TurnEnd) && t.tokens[eos] == endOfText && !t.stopsAt(phi4TurnEnd)
}

func phi4FirstRelease(m *model, report reportFunc) {
	if t := m.tokens; isPhi4FirstRelease(t) {
		report("tokenizer.ggml.eos_token_id", "%d (%s), expected %d (%s)",
			t.index[endOfText], endOfText, t.index[phi4TurnEnd], phi4TurnEnd)
	}
}

func padEndsTurn(m *model, report reportFunc) {
	t := m.tokens
	if pad, ok := t.id("pad"); ok && slices.Contains(t.turnEnds(), t.tokens[pad]) {
		report("tokenizer.ggml.padding_token_id", "%d (%s)", pad, t.tokens[pad])
	}
}

func noTemplate(m *model, report reportFunc) {
	if m.tokens.template == "" && m.tokens.isChat() {
		report(templateKey, "missing")
	}
}

// unknownSpecials splits the special tokens of the template, other than the end
// of text, into those that the vocabulary has and those that it lacks.
func unknownSpecials(t *tokenizer) (known, unknown []string) {
	for _, token := range templateSpecials(t.template) {
		switch {
		case token == endOfText:
		case t.has(token):
			known = append(known, token)
		default:
			unknown = append(unknown, token)
		}
	}
	return known, unknown
}

func otherTemplate(m *model, report reportFunc) {
	known, unknown := unknownSpecials(m.tokens)
	if len(known) == 0 && len(unknown) > 0 && m.tokens.isChat() {
		report(templateKey, "it uses %s; the vocabulary has none of them", strings.Join(unknown, " "))
	}
}

func templateTokens(m *model, report reportFunc) {
	known, unknown := unknownSpecials(m.tokens)
	if len(known) == 0 && m.tokens.isChat() {
		return // otherTemplate reports it
	}
	for _, token := range unknown {
		report(templateKey, "%s is not in the vocabulary", token)
	}
}

// dropsSystem looks for a template that tells roles apart and knows no system.
func dropsSystem(m *model, report reportFunc) {
	t := m.tokens.template
	if strings.Contains(t, "user") && strings.Contains(t, "==") && !strings.Contains(t, "system") {
		report(templateKey, "it writes user and assistant messages only")
	}
}

// adds returns the value of add_bos_token or add_eos_token.
func adds(m *model, key string, byDefault bool) bool {
	if v, ok := m.md.Bool(key); ok {
		return v
	}
	return byDefault
}

func doubleBOS(m *model, report reportFunc) {
	t := m.tokens
	// A SentencePiece vocabulary adds it unless the key says otherwise.
	if _, ok := t.id("bos"); ok && adds(m, addBOSKey, t.model == vocab.SentencePiece) &&
		beginsBOS.MatchString(t.template) {
		report(addBOSKey, "true, and the chat template begins with bos_token")
	}
}

func addUndefined(m *model, report reportFunc) {
	for _, f := range []struct{ key, role string }{{addBOSKey, "bos"}, {addEOSKey, "eos"}} {
		if _, ok := m.tokens.id(f.role); !ok && adds(m, f.key, false) {
			report(f.key, "true, but there is no tokenizer.ggml.%s_token_id", f.role)
		}
	}
}

func addsEOS(m *model, report reportFunc) {
	if adds(m, addEOSKey, false) {
		report(addEOSKey, "true")
	}
}
