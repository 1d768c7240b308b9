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
// tokens, and last by what the model's own code says. What to put around a text
// is said by tokenizer.json's post-processor, which may name further tokens, and
// then by tokenizer_config.json's switches.
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
				r.frame(v, c, s.config != nil)
			}
		}
	}
	if s.config != nil {
		s.config.switches(v)
	}
	if v.AddBOS == nil && s.known.NoBOS {
		v.AddBOS = new(bool)
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

// switches takes over which special tokens are put around a text.
func (c *tokenizerConfig) switches(v *Vocab) {
	for _, f := range []struct{ to, from **bool }{
		{&v.AddBOS, &c.AddBOS}, {&v.AddEOS, &c.AddEOS}, {&v.AddSep, &c.AddSep},
	} {
		if *f.from != nil {
			*f.to = *f.from
		}
	}
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

// frame reads from a TemplateProcessing which tokens are put around a text. Its
// first and last special token become BOS and EOS where they have another name;
// configured says whether tokenizer_config.json named tokens at all.
func (r *roles) frame(v *Vocab, c component, configured bool) {
	var first, last string
	if len(c.Single) > 1 {
		first = c.Single[0].SpecialToken.ID
		last = c.Single[len(c.Single)-1].SpecialToken.ID
	}
	if first != "" {
		r.begin(v, first, configured)
	}
	if last != "" {
		r.end(v, last)
	}
	r.separate(v, c.Pair, first, last)
}

// begin notes the token before a text.
func (r *roles) begin(v *Vocab, first string, configured bool) {
	named := r.BOS.is(first) || r.Cls.is(first)
	if !named && (r.BOS.Content == "" || !configured) {
		r.BOS = special(first)
	}
	if !named && r.Cls.Content == "" {
		r.Cls = special(first)
	}
	add := r.BOS.is(first) || r.Cls.is(first)
	v.AddBOS = &add
}

// end notes the token after a text.
func (r *roles) end(v *Vocab, last string) {
	if !r.EOS.is(last) {
		if r.EOT.Content == "" {
			r.EOT = r.EOS
		} else if r.EOM.Content == "" {
			r.EOM = r.EOS
		}
		r.EOS = special(last)
	}
	add := true
	v.AddEOS = &add
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

// loadFlags notes what GGUF has no place for: the added tokens that swallow white
// space around them, that are matched in normalized text, that are plain text.
// Where tokenizer.json and tokenizer_config.json both list a token, the latter's flags count.
func (s *source) loadFlags(v *Vocab) error {
	tokens := make(map[int64]addedToken)
	if s.tokenizer != nil {
		for _, a := range s.tokenizer.AddedTokens {
			if a.Content != "" {
				tokens[*a.ID] = a
			}
		}
	}
	if s.config != nil {
		decoder, err := s.decoder()
		if err != nil {
			return err
		}
		for _, a := range decoder {
			if a.Content != "" {
				tokens[*a.ID] = a
			}
		}
	}
	for id, a := range tokens {
		if a.RStrip {
			v.RStrip = append(v.RStrip, int(id))
		}
		if a.LStrip {
			v.LStrip = append(v.LStrip, int(id))
		}
		if a.normalized() {
			v.Normalized = append(v.Normalized, int(id))
		}
		if v.Types[id] == Control && !a.Special {
			v.Plain = append(v.Plain, int(id))
		}
	}
	slices.Sort(v.RStrip)
	slices.Sort(v.LStrip)
	slices.Sort(v.Normalized)
	slices.Sort(v.Plain)
	return nil
}

// loadTemplates reads the chat templates: those of tokenizer_config.json, else of
// chat_template.jinja with additional_chat_templates/NAME.jinja, else of
// chat_template.json.
func (s *source) loadTemplates(v *Vocab) error {
	if s.config != nil && s.config.ChatTemplate != nil {
		v.setTemplates(s.config.ChatTemplate)
		return nil
	}
	text, ok, err := readText(s.dir, "chat_template.jinja")
	if err != nil {
		return err
	}
	if !ok {
		var f struct {
			ChatTemplate *chatTemplate `json:"chat_template"`
		}
		if _, err := readJSON(s.dir, "chat_template.json", &f); err != nil || f.ChatTemplate == nil {
			return err
		}
		v.setTemplates(f.ChatTemplate)
		return nil
	}
	c := &chatTemplate{text: newlines(text)}
	const folder = "additional_chat_templates"
	files, err := os.ReadDir(s.path(folder))
	if err != nil && !os.IsNotExist(err) {
		return &formats.Error{Path: s.path(folder), Off: -1, What: "cannot list", Err: err}
	}
	for _, f := range files {
		name, ok := strings.CutSuffix(f.Name(), ".jinja")
		if !ok {
			continue
		}
		if len(c.named) == maxTemplates {
			return s.errorf(folder, "more than %d chat templates", maxTemplates)
		}
		text, _, err := readText(s.path(folder), f.Name())
		if err != nil {
			return err
		}
		c.named = append(c.named, Template{name, newlines(text)})
	}
	v.setTemplates(c)
	return nil
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
