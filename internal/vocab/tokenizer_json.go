package vocab

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// tokenizerJSON is tokenizer.json, the format of the tokenizers library.
type tokenizerJSON struct {
	AddedTokens   addedList     `json:"added_tokens"`
	Normalizer    *pipeline     `json:"normalizer"`
	PreTokenizer  *pipeline     `json:"pre_tokenizer"`
	PostProcessor *pipeline     `json:"post_processor"`
	Decoder       *pipeline     `json:"decoder"`
	Model         tokenizerBody `json:"model"`
}

type tokenizerBody struct {
	Type         string          `json:"type"`
	UnkToken     string          `json:"unk_token"`
	ByteFallback bool            `json:"byte_fallback"`
	FuseUnk      bool            `json:"fuse_unk"`
	IgnoreMerges bool            `json:"ignore_merges"` // a word that is a token is not merged from its bytes
	Dropout      *float64        `json:"dropout"`
	Prefix       string          `json:"continuing_subword_prefix"`
	Suffix       string          `json:"end_of_word_suffix"`
	Vocab        json.RawMessage `json:"vocab"`  // entries for BPE
	Merges       json.RawMessage `json:"merges"` // []string or [][2]string
}

// pipeline is a component at the top of tokenizer.json. Its length in the file
// bounds the number of components in it, however they are nested.
type pipeline component

func (p *pipeline) UnmarshalJSON(data []byte) error {
	if len(data) > maxPipeline {
		return fmt.Errorf("a normalizer, pre-tokenizer, post-processor or decoder has %d bytes, at most %d are allowed",
			len(data), maxPipeline)
	}
	return inPart(json.Unmarshal(data, (*component)(p)))
}

// component is a step of tokenizer.json's pipeline: a normalizer, pre-tokenizer,
// post-processor or decoder, with the fields of the types that matter here.
type component struct {
	Type string `json:"type"`

	// Sequence of each kind.
	Normalizers   []component `json:"normalizers"`
	PreTokenizers []component `json:"pretokenizers"`
	Processors    []component `json:"processors"`
	Decoders      []component `json:"decoders"`

	// Prepend, and Replace and the decoder Strip.
	Prepend string `json:"prepend"`
	Content string `json:"content"`
	Start   int    `json:"start"`
	Stop    int    `json:"stop"`

	// Pattern is that of Replace and Split.
	Pattern struct {
		String *string `json:"String"`
		Regex  *string `json:"Regex"`
	} `json:"pattern"`

	// Pre-tokenizers.
	Behavior         string `json:"behavior"`
	Invert           bool   `json:"invert"`
	IndividualDigits bool   `json:"individual_digits"`
	AddPrefixSpace   bool   `json:"add_prefix_space"`
	UseRegex         *bool  `json:"use_regex"` // nil means true
	Replacement      string `json:"replacement"`
	PrependScheme    string `json:"prepend_scheme"`
	Split            *bool  `json:"split"` // nil means true

	// Post-processor TemplateProcessing: what to put around one text and a pair, and the ids by special token.
	Single        []templatePiece `json:"single"`
	Pair          []templatePiece `json:"pair"`
	SpecialTokens map[string]struct {
		IDs []int64 `json:"ids"`
	} `json:"special_tokens"`

	// BertProcessing and RobertaProcessing: what to put before a text and after it.
	Cls framed `json:"cls"`
	Sep framed `json:"sep"`
}

// framed is a token that a post-processor puts beside a text.
type framed struct {
	text string
	id   int64
}

func (f *framed) UnmarshalJSON(data []byte) error {
	var pair []json.RawMessage
	if json.Unmarshal(data, &pair) == nil && len(pair) == 2 &&
		json.Unmarshal(pair[0], &f.text) == nil && json.Unmarshal(pair[1], &f.id) == nil {
		return nil
	}
	return fmt.Errorf("a token beside a text is %.40s, expected a list of its text and its id", data)
}

// templatePiece is a special token or a text ("A", "B").
type templatePiece struct {
	SpecialToken struct {
		ID string `json:"id"`
	} `json:"SpecialToken"`
	Sequence struct {
		ID string `json:"id"`
	} `json:"Sequence"`
}

// addedToken is a token that is found in the text before anything else, as
// tokenizer.json and tokenizer_config.json write it.
type addedToken struct {
	ID         *int64 `json:"id"` // in tokenizer.json only
	Content    string `json:"content"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	SingleWord bool   `json:"single_word"`
	Normalized *bool  `json:"normalized"` // nil means !Special
	Special    bool   `json:"special"`
}

func (t addedToken) normalized() bool {
	if t.Normalized == nil {
		return !t.Special
	}
	return *t.Normalized
}

// addedList are added tokens in a list.
type addedList []addedToken

func (l *addedList) UnmarshalJSON(data []byte) (err error) {
	*l, err = decodeList[addedToken](data, "added tokens", maxAdded)
	return err
}

// entry is a token of a JSON object {"text": id, ...}.
type entry struct {
	text string
	id   int
}

// entries reads such an object in the order of the file, and refuses texts and
// ids that occur twice.
type entries []entry

func (e *entries) UnmarshalJSON(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return fmt.Errorf("tokens are %v, expected an object of ids by text", t)
	}
	texts, ids := make(map[string]bool), make(map[int]string)
	for dec.More() {
		k, err := dec.Token()
		if err != nil {
			return err
		}
		text := k.(string) // the decoder returns nothing else as a key
		v, err := dec.Token()
		if err != nil {
			return err
		}
		n, _ := v.(json.Number)
		id, err := n.Int64()
		if err != nil || id < 0 || id >= maxTokens {
			return fmt.Errorf("token %q has the id %v, expected an integer from 0 to %d", text, v, maxTokens-1)
		}
		if texts[text] {
			return fmt.Errorf("token %q is listed twice", text)
		}
		if other, ok := ids[int(id)]; ok {
			return fmt.Errorf("tokens %q and %q both have the id %d", other, text, id)
		}
		texts[text], ids[int(id)] = true, text
		*e = append(*e, entry{text, int(id)})
	}
	return nil
}

// flatten lists the steps of a pipeline, those of a Sequence one by one.
func flatten(p *pipeline) []component {
	if p == nil {
		return nil
	}
	return appendSteps(nil, (*component)(p))
}

func appendSteps(out []component, c *component) []component {
	if c.Type != "Sequence" {
		return append(out, *c)
	}
	for _, list := range [][]component{c.Normalizers, c.PreTokenizers, c.Processors, c.Decoders} {
		for i := range list {
			out = appendSteps(out, &list[i])
		}
	}
	return out
}

// vocabulary returns tokenizer.json's model.vocab, whose ids must be below size.
func (s *source) vocabulary(size int) ([]entry, error) {
	m := &s.tokenizer.Model
	if m.Type != "BPE" && m.Type != "" {
		return nil, s.errorf(jsonFile, "model of type %q, expected \"BPE\"", m.Type)
	}
	var list entries
	if m.Vocab == nil {
		return nil, s.errorf(jsonFile, "no model.vocab")
	}
	if err := json.Unmarshal(m.Vocab, &list); err != nil {
		return nil, s.errorf(jsonFile, "model.vocab: %v", err)
	}
	return list, s.checkSize(jsonFile, list, size)
}

func (s *source) checkSize(file string, list []entry, size int) error {
	if len(list) == 0 {
		return s.errorf(file, "no tokens")
	}
	for _, e := range list {
		if e.id >= size {
			return s.errorf(file, "token %q has the id %d, but vocab_size is %d", e.text, e.id, size)
		}
	}
	return nil
}

// merge is a pair of tokens that become one.
type merge struct{ left, right string }

// merges returns tokenizer.json's model.merges, which are written as "left right"
// or, where tokens may have spaces, as ["left", "right"].
func (s *source) merges() ([]merge, error) {
	const file = "tokenizer.json"
	raw := s.tokenizer.Model.Merges
	if raw == nil || string(raw) == "null" {
		return nil, nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return nil, s.errorf(file, "model.merges is not a list of strings or of pairs of strings")
	}
	var out []merge
	for dec.More() {
		if len(out) == maxTokens {
			return nil, s.errorf(file, "more than %d merges", maxTokens)
		}
		m, err := readMerge(dec)
		if err != nil {
			return nil, s.errorf(file, "merge %d %v", len(out), err)
		}
		out = append(out, m)
	}
	return out, nil
}

// readMerge reads one of the merges.
func readMerge(dec *json.Decoder) (merge, error) {
	t, err := dec.Token()
	if err != nil {
		return merge{}, err
	}
	if text, ok := t.(string); ok {
		left, right, ok := strings.Cut(text, " ")
		if !ok || left == "" || right == "" || strings.Contains(right, " ") {
			return merge{}, fmt.Errorf("is %q, expected two tokens with a space between them", text)
		}
		return merge{left, right}, nil
	}
	if t != json.Delim('[') {
		return merge{}, fmt.Errorf("is %v, expected a string or a pair of strings", t)
	}
	var pair [3]json.Token // the last is the end of the list
	for i := range pair {
		if pair[i], err = dec.Token(); err != nil {
			return merge{}, errors.New("is not a list of two tokens") // its end was met before
		}
	}
	left, _ := pair[0].(string)
	right, _ := pair[1].(string)
	if left == "" || right == "" || pair[2] != json.Delim(']') {
		return merge{}, errors.New("is not a list of two tokens")
	}
	return merge{left, right}, nil
}
