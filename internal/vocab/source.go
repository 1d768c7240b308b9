package vocab

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"unicode/utf8"

	"github.com/phi3conv/phi3conv/formats"
)

// Limits of what a file may hold. Short elements of a JSON file become large
// values in memory, so their number is bounded apart from the file's size.
const (
	maxFile      = 64 << 20  // bytes; the largest, Phi-4-mini's tokenizer.json, has 15 MB
	maxPipeline  = 256 << 10 // bytes of a normalizer, pre-tokenizer, post-processor or decoder; some have 2 KB
	maxAdded     = 1 << 16   // added or special tokens of a list; no Phi model has 1000
	maxIDs       = 256       // ids of a role, such as eos_token_id
	maxTemplates = 64        // named chat templates
)

// source is what the files of a directory say, each as it is.
type source struct {
	dir        string
	spm        []byte           // tokenizer.model; nil if absent
	tokenizer  *tokenizerJSON   // tokenizer.json; nil if absent
	config     *tokenizerConfig // tokenizer_config.json; nil if absent
	added      []entry          // added_tokens.json
	specialMap specialTokens    // special_tokens_map.json
	model      tokenIDs         // config.json
	generation tokenIDs         // generation_config.json
}

func open(dir string) (*source, error) {
	s := &source{dir: dir}
	for _, f := range []struct {
		name string
		into any
	}{
		{"tokenizer.json", &s.tokenizer},
		{"tokenizer_config.json", &s.config},
		{"added_tokens.json", (*entries)(&s.added)},
		{"special_tokens_map.json", &s.specialMap},
		{"config.json", &s.model},
		{"generation_config.json", &s.generation},
	} {
		if _, err := readJSON(dir, f.name, f.into); err != nil {
			return nil, err
		}
	}
	var err error
	s.spm, err = readFile(dir, "tokenizer.model")
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (s *source) path(name string) string { return filepath.Join(s.dir, name) }

// errorf makes an error about one of the directory's files.
func (s *source) errorf(name, format string, args ...any) error {
	return formats.FileErrorf(s.path(name), -1, format, args...)
}

// sentencePiece tells which kind of tokenizer the directory holds.
// tokenizer_class decides when it names byte-level BPE; otherwise the files do,
// for transformers 5 writes a class that says nothing ("TokenizersBackend").
func (s *source) sentencePiece() bool {
	if s.config != nil && s.config.Class == "GPT2Tokenizer" {
		return false
	}
	return s.spm != nil || s.tokenizer != nil && s.tokenizer.Model.ByteFallback
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

	// Normalizers. BertNormalizer has the flags; Prepend and Replace the texts.
	Lowercase    *bool  `json:"lowercase"`
	StripAccents *bool  `json:"strip_accents"`
	Prepend      string `json:"prepend"`
	Content      string `json:"content"`

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
	PrependScheme    string `json:"prepend_scheme"`
	Split            *bool  `json:"split"` // nil means true

	// Post-processor TemplateProcessing: what to put around one text and a pair.
	Single []templatePiece `json:"single"`
	Pair   []templatePiece `json:"pair"`
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
	Normalized *bool  `json:"normalized"` // nil means !Special
	Special    bool   `json:"special"`
}

// addedList are added tokens in a list.
type addedList []addedToken

func (l *addedList) UnmarshalJSON(data []byte) (err error) {
	*l, err = decodeList[addedToken](data, "added tokens", maxAdded)
	return err
}

// addedMap are added tokens by id.
type addedMap map[string]addedToken

func (m *addedMap) UnmarshalJSON(data []byte) error {
	if data[0] != '{' { // null, or a mistake that this reports
		return json.Unmarshal(data, (*map[string]addedToken)(m))
	}
	*m = make(addedMap)
	dec := json.NewDecoder(bytes.NewReader(data))
	_, err := dec.Token()
	for err == nil && dec.More() {
		if len(*m) == maxAdded {
			return fmt.Errorf("more than %d added tokens", maxAdded)
		}
		var key json.Token
		var t addedToken
		if key, err = dec.Token(); err == nil {
			err = dec.Decode(&t)
			(*m)[key.(string)] = t // the decoder returns nothing else as a key
		}
	}
	return inPart(err)
}

// inPart takes the offset from an error about a part of a file, where it does not
// count from the beginning of the file.
func inPart(err error) error {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		wrong.Offset = -1
	}
	return err
}

// decodeList decodes a JSON array, or null, of at most limit elements, which are
// counted before they take memory.
func decodeList[T any](data []byte, what string, limit int) ([]T, error) {
	if data[0] != '[' { // null, or a mistake that this reports
		var list []T
		return list, json.Unmarshal(data, &list)
	}
	list := []T{}
	dec := json.NewDecoder(bytes.NewReader(data))
	_, err := dec.Token()
	n := 0
	for ; err == nil && dec.More(); n++ {
		if n >= limit { // count on
			var skipped json.RawMessage
			err = dec.Decode(&skipped)
			continue
		}
		var v T
		err = dec.Decode(&v)
		list = append(list, v)
	}
	if err != nil {
		return nil, inPart(err)
	}
	if n > limit {
		return nil, fmt.Errorf("%d %s, at most %d are allowed", n, what, limit)
	}
	return list, nil
}

func (t addedToken) normalized() bool {
	if t.Normalized == nil {
		return !t.Special
	}
	return *t.Normalized
}

// tokenizerConfig is tokenizer_config.json.
type tokenizerConfig struct {
	Class        string        `json:"tokenizer_class"`
	AddBOS       *bool         `json:"add_bos_token"`
	AddEOS       *bool         `json:"add_eos_token"`
	AddSep       *bool         `json:"add_sep_token"`
	ChatTemplate *chatTemplate `json:"chat_template"`
	Added        addedMap      `json:"added_tokens_decoder"` // nil if absent
	Additional   specialList   `json:"additional_special_tokens"`
	Extra        specialList   `json:"extra_special_tokens"` // transformers 5's name for Additional
	specialTokens
}

// specialTokens names tokens by their role.
type specialTokens struct {
	BOS  specialToken `json:"bos_token"`
	EOS  specialToken `json:"eos_token"`
	Unk  specialToken `json:"unk_token"`
	Sep  specialToken `json:"sep_token"`
	Pad  specialToken `json:"pad_token"`
	Cls  specialToken `json:"cls_token"`
	Mask specialToken `json:"mask_token"`
}

func (t *specialTokens) list() []specialToken {
	return []specialToken{t.BOS, t.EOS, t.Unk, t.Sep, t.Pad, t.Cls, t.Mask}
}

// specialToken is written as a string or as an object; the zero value is absent.
type specialToken struct {
	addedToken
	object bool
}

// is tells whether t is written as the string text. An object is no string, not
// for llama.cpp's converter either.
func (t specialToken) is(text string) bool { return !t.object && t.Content == text }

func (t *specialToken) UnmarshalJSON(data []byte) error {
	var text *string
	if err := json.Unmarshal(data, &text); err == nil {
		if text != nil {
			t.Content, t.Special = *text, true
		}
		return nil
	}
	t.object = true
	if err := json.Unmarshal(data, &t.addedToken); err != nil {
		return fmt.Errorf("special token is %.40s, expected a string or an object with content", data)
	}
	t.Special = true
	return nil
}

// specialList is a list of special tokens. Where an object stands in its place,
// it gives names to tokens that other files list too, and is passed over.
type specialList []specialToken

func (l *specialList) UnmarshalJSON(data []byte) (err error) {
	if data[0] == '{' {
		return nil
	}
	*l, err = decodeList[specialToken](data, "special tokens", maxAdded)
	return err
}

// tokenIDs are the ids by role of config.json and generation_config.json.
type tokenIDs struct {
	BOS  idList `json:"bos_token_id"`
	EOS  idList `json:"eos_token_id"`
	Unk  idList `json:"unk_token_id"`
	Sep  idList `json:"sep_token_id"`
	Pad  idList `json:"pad_token_id"`
	Mask idList `json:"mask_token_id"`
}

// idList is an id, a list of ids, or null.
type idList struct {
	ids  []int64
	list bool
}

func (l *idList) UnmarshalJSON(data []byte) error {
	var one *int64
	if err := json.Unmarshal(data, &one); err == nil {
		if one != nil {
			l.ids = []int64{*one}
		}
		return nil
	}
	l.list = true
	if data[0] != '[' {
		return fmt.Errorf("token id is %.40s, expected an integer or a list of integers", data)
	}
	var wrong *json.UnmarshalTypeError
	ids, err := decodeList[int64](data, "ids in the list of a token's role, such as eos_token_id", maxIDs)
	if errors.As(err, &wrong) {
		return fmt.Errorf("token id is %.40s, expected an integer or a list of integers", data)
	}
	l.ids = ids
	return err
}

// chatTemplate is one template, or a list of named ones.
type chatTemplate struct {
	text  string
	named []Template
}

func (c *chatTemplate) UnmarshalJSON(data []byte) error {
	if err := json.Unmarshal(data, &c.text); err == nil {
		return nil
	}
	type named struct {
		Name     string  `json:"name"`
		Template *string `json:"template"`
	}
	var wrong *json.UnmarshalTypeError
	list, err := decodeList[named](data, "chat templates", maxTemplates)
	if errors.As(err, &wrong) {
		return errors.New("chat_template is neither a string nor a list of objects with name and template")
	} else if err != nil {
		return err
	}
	for _, t := range list {
		if t.Name != "" && t.Template != nil {
			c.named = append(c.named, Template{t.Name, *t.Template})
		}
	}
	return nil
}

// readFile returns a file of the directory, or nil if there is none.
func readFile(dir, name string) ([]byte, error) {
	path := filepath.Join(dir, name)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &formats.Error{Path: path, Off: -1, What: "cannot open", Err: err}
	}
	defer func() { _ = f.Close() }() // only read from
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, &formats.Error{Path: path, Off: -1, What: "cannot read", Err: err}
	}
	if len(data) > maxFile {
		return nil, formats.FileErrorf(path, -1, "larger than %d MiB, the limit for tokenizer files", maxFile>>20)
	}
	return slices.Clip(data), nil
}

// readText returns a text file of the directory, which must be UTF-8.
func readText(dir, name string) (text []byte, ok bool, err error) {
	data, err := readFile(dir, name)
	if data == nil {
		return nil, false, err
	}
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n == 1 {
			return nil, false, formats.FileErrorf(filepath.Join(dir, name), int64(i),
				"byte 0x%02X is not UTF-8", data[i])
		}
		i += n
	}
	return data, true, nil
}

// readJSON reads a JSON file of the directory into v and tells whether there is one.
func readJSON(dir, name string, v any) (ok bool, err error) {
	data, ok, err := readText(dir, name)
	if !ok {
		return false, err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return false, jsonError(filepath.Join(dir, name), err)
	}
	return true, nil
}

// jsonError says where in the file err is, if it knows.
func jsonError(path string, err error) error {
	var syntax *json.SyntaxError
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return &formats.Error{Path: path, Off: syntax.Offset, What: "not JSON", Err: errors.New(syntax.Error())}
	case errors.As(err, &wrong):
		return formats.FileErrorf(path, wrong.Offset,
			"%q is a JSON %s, expected %s", wrong.Field, wrong.Value, wrong.Type)
	}
	return formats.FileErrorf(path, -1, "%s", err.Error())
}
