package vocab

import (
	"os"
	"slices"
	"strings"
	"unicode"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/arch"
)

// loadSpecial finds the special ids, what to put around a text, and the stop ids.
//
// A role's token is named by tokenizer_config.json and looked up among
// tokenizer.json's added tokens; roles that stay open are filled from
// config.json's ids, then, without a tokenizer.json, by a look-up among all
// tokens, and last by what the model's own code says. The post-processor may name
// further tokens.
func (s *source) loadSpecial(v *Vocab) error {
	var r roles
	if s.config != nil {
		r.specialTokens = s.config.specialTokens
	}
	if s.tokenizer != nil {
		if r.BOS.Content == "" {
			r.BOS = r.Cls
		}
		if r.EOS.Content == "" {
			r.EOS = r.Sep
		}
		for _, c := range flatten(s.tokenizer.PostProcessor) {
			if c.Type == "TemplateProcessing" {
				r.frame(v, c)
			}
		}
	}
	sources := map[string]roleSource{
		"bos":  {r.BOS, s.model.BOS},
		"eos":  {r.EOS, s.model.EOS},
		"unk":  {r.Unk, s.model.Unk},
		"sep":  {r.Sep, s.model.Sep},
		"pad":  {r.Pad, s.model.Pad},
		"mask": {r.Mask, s.model.Mask},
		"eot":  {token: r.EOT},
		"eom":  {token: r.EOM},
	}
	for _, f := range idFields {
		if err := s.fillRole(v, f.name, f.of(v), sources[f.name]); err != nil {
			return err
		}
	}
	if err := s.setAround(v); err != nil {
		return err
	}
	return s.loadStops(v)
}

// roleSource is what files say of a role: the token's text, and config.json's id.
type roleSource struct {
	token specialToken
	id    idList
}

// fillRole sets the id of a role.
func (s *source) fillRole(v *Vocab, role string, to *int, from roleSource) error {
	if s.config != nil && s.tokenizer != nil && from.token.Content != "" {
		named := func(a addedToken) bool { return a.Content == from.token.Content }
		if i := slices.IndexFunc(s.tokenizer.AddedTokens, named); i >= 0 {
			*to = int(*s.tokenizer.AddedTokens[i].ID) // checked when the tokens were loaded
		}
	}
	// A list is not one id, so it names no role; loadStops reads it.
	if *to == None && len(from.id.ids) == 1 && !from.id.list {
		id := from.id.ids[0]
		if err := s.checkID(v, "config.json", role+"_token_id", id); err != nil {
			return err
		}
		*to = int(id)
	}
	if *to == None && s.tokenizer == nil && from.token.Content != "" {
		*to = slices.Index(v.Tokens, from.token.Content) // None if it is not there
	}
	if *to == None && slices.Contains(s.known.EndOfText, role) {
		*to = slices.Index(v.Tokens, arch.EndOfText)
	}
	return nil
}

func (s *source) checkID(v *Vocab, file, key string, id int64) error {
	if id < 0 || id >= int64(len(v.Tokens)) {
		return s.errorf(file, "%s is %d, expected 0 to %d", key, id, len(v.Tokens)-1)
	}
	return nil
}

// roles are tokens by role; the post-processor may move EOS to EOT or EOM.
type roles struct {
	specialTokens
	EOT, EOM specialToken
}

// frame reads from a TemplateProcessing which roles the tokens have that are put around a text: the last one is EOS,
// the first is BOS where nothing else is, and what is between the texts of a pair may be a separator.
func (r *roles) frame(v *Vocab, c component) {
	var first, last string
	if len(c.Single) > 1 {
		first = c.Single[0].SpecialToken.ID
		last = c.Single[len(c.Single)-1].SpecialToken.ID
	}
	if first != "" && r.BOS.Content == "" {
		r.BOS = special(first)
	}
	if last != "" {
		r.end(last)
	}
	r.separate(v, c.Pair, first, last)
}

// end notes the token after a text.
func (r *roles) end(last string) {
	if r.EOS.is(last) {
		return
	}
	if r.EOT.Content == "" {
		r.EOT = r.EOS
	} else if r.EOM.Content == "" {
		r.EOM = r.EOS
	}
	r.EOS = special(last)
}

// separate notes what is between the texts of a pair: A [sep] [eos] B.
func (r *roles) separate(v *Vocab, pair []templatePiece, first, last string) {
	if len(pair) > 0 && first != "" && pair[0].SpecialToken.ID == first {
		pair = pair[1:]
	}
	if len(pair) > 0 && last != "" && pair[len(pair)-1].SpecialToken.ID == last {
		pair = pair[:len(pair)-1]
	}
	if len(pair) < 3 || pair[0].Sequence.ID != "A" || pair[len(pair)-1].Sequence.ID != "B" {
		return
	}
	between := pair[1 : len(pair)-1]
	separates := func(p templatePiece) bool {
		id := p.SpecialToken.ID
		return id != "" && (r.Sep.is(id) || r.EOS.is(id))
	}
	add := last == "" && separates(between[0]) || len(between) == 2 && separates(between[1])
	v.AddSep = &add
	if add && r.Sep.Content == "" {
		r.Sep = r.EOS
	}
}

// special is a token that a string names.
func special(text string) specialToken {
	return specialToken{addedToken: addedToken{Content: text, Special: true}}
}

// loadStops collects the stop ids: those of generation_config.json, or without
// them those of config.json and of the model's own code, and the tokenizer's own
// end tokens.
func (s *source) loadStops(v *Vocab) error {
	file, ids := "generation_config.json", s.generation.EOS.ids
	if ids == nil {
		file, ids = "config.json", s.model.EOS.ids
	}
	add := func(id int) {
		if id != None && !slices.Contains(v.StopIDs, id) {
			v.StopIDs = append(v.StopIDs, id)
		}
	}
	for _, id := range ids {
		if err := s.checkID(v, file, "eos_token_id", id); err != nil {
			return err
		}
		add(int(id))
	}
	if s.generation.EOS.ids == nil {
		for _, text := range s.known.Stops {
			add(slices.Index(v.Tokens, text))
		}
	}
	add(v.EOS)
	add(v.EOT)
	add(v.EOM)
	v.nameStops()
	return nil
}

// setFlags notes what GGUF has no place for: the added tokens that swallow white space around them, that are matched
// in normalized text or as whole words only, that are plain text.
func (v *Vocab) setFlags(tokens map[string]*addedToken, ids map[string]int) {
	for text, a := range tokens {
		id := ids[text]
		for _, f := range []struct {
			set bool
			ids *[]int
		}{
			{a.RStrip, &v.RStrip},
			{a.LStrip, &v.LStrip},
			{a.SingleWord, &v.SingleWord},
			{a.normalized(), &v.Normalized},
			{v.Types[id] == Control && !a.Special, &v.Plain},
		} {
			if f.set {
				*f.ids = append(*f.ids, id)
			}
		}
	}
	for _, list := range [][]int{v.RStrip, v.LStrip, v.SingleWord, v.Normalized, v.Plain} {
		slices.Sort(list)
	}
}

// loadTemplates reads the chat templates as transformers does: those of chat_template.jinja and
// additional_chat_templates/NAME.jinja, else those of tokenizer_config.json; and else chat_template.json, which a
// processor has.
func (s *source) loadTemplates(v *Vocab) error {
	files, err := s.templateFiles()
	switch {
	case err != nil:
		return err
	case files != nil:
		v.setTemplates(files)
	case s.config != nil && s.config.ChatTemplate != nil:
		v.setTemplates(s.config.ChatTemplate)
	default:
		var f struct {
			ChatTemplate *chatTemplate `json:"chat_template"`
		}
		if _, err := readJSON(s.dir, "chat_template.json", &f); err != nil || f.ChatTemplate == nil {
			return err
		}
		v.setTemplates(f.ChatTemplate)
	}
	return nil
}

// templateFiles reads the files of templates; nil if there are none.
func (s *source) templateFiles() (*chatTemplate, error) {
	text, ok, err := readText(s.dir, "chat_template.jinja")
	if err != nil {
		return nil, err
	}
	c := &chatTemplate{text: newlines(text)}
	const folder = "additional_chat_templates"
	files, err := os.ReadDir(s.path(folder))
	if err != nil && !os.IsNotExist(err) {
		return nil, formats.WrapFile(err, s.path(folder), "cannot list")
	}
	for _, f := range files {
		name, isTemplate := strings.CutSuffix(f.Name(), ".jinja")
		if !isTemplate {
			continue
		}
		if len(c.named) == maxTemplates {
			return nil, s.errorf(folder, "more than %d chat templates", maxTemplates)
		}
		text, _, err := readText(s.path(folder), f.Name())
		if err != nil {
			return nil, err
		}
		c.named = append(c.named, Template{name, newlines(text)})
	}
	if !ok && c.named == nil {
		return nil, nil
	}
	return c, nil
}

// newlines ends each line of a text file with "\n" alone.
func newlines(text []byte) string {
	return strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(text))
}

// setTemplates sets the templates, the one named "default" as the chat template.
// Characters of a name that a key cannot have become "_".
func (v *Vocab) setTemplates(c *chatTemplate) {
	v.ChatTemplate = c.text
	for _, t := range c.named {
		t.Name = strings.Map(func(r rune) rune {
			if r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) {
				return '_'
			}
			return r
		}, t.Name)
		i := slices.IndexFunc(v.Templates, func(u Template) bool { return u.Name == t.Name })
		switch {
		case t.Name == "default":
			v.ChatTemplate = t.Text
		case i >= 0:
			v.Templates[i] = t
		default:
			v.Templates = append(v.Templates, t)
		}
	}
}
