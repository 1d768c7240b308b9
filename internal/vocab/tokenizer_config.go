package vocab

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// tokenizerConfig is tokenizer_config.json.
type tokenizerConfig struct {
	Class        string        `json:"tokenizer_class"`
	AddBOS       *bool         `json:"add_bos_token"`
	AddEOS       *bool         `json:"add_eos_token"`
	AddSep       *bool         `json:"add_sep_token"`
	Legacy       *bool         `json:"legacy"` // nil means true: a space in front of each part, not of the text only
	PrefixSpace  bool          `json:"add_prefix_space"`
	SplitSpecial bool          `json:"split_special_tokens"`
	ChatTemplate *chatTemplate `json:"chat_template"`
	Added        addedMap      `json:"added_tokens_decoder"` // nil if absent
	Additional   specialList   `json:"additional_special_tokens"`
	Extra        specialList   `json:"extra_special_tokens"` // transformers 5's name for Additional
	Own          ownTokens     `json:"-"`                    // roles that only this model has
	specialTokens
}

func (c *tokenizerConfig) UnmarshalJSON(data []byte) error {
	type plain tokenizerConfig
	if err := json.Unmarshal(data, (*plain)(c)); err != nil {
		return err
	}
	return json.Unmarshal(data, &c.Own)
}

// ownTokens are texts of tokens in the order of the file: the values of keys such as image_token, which are no usual
// role, and of an object extra_special_tokens.
type ownTokens []string

func (o *ownTokens) UnmarshalJSON(data []byte) error {
	usual := []string{"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}
	var extra []string
	err := eachMember(data, func(key string, value json.RawMessage) error {
		if key == "extra_special_tokens" && value[0] == '{' {
			return eachMember(value, func(_ string, value json.RawMessage) error {
				extra = appendText(extra, value)
				return nil
			})
		}
		if strings.HasSuffix(key, "_token") && !slices.Contains(usual, key) {
			*o = appendText(*o, value)
		}
		return nil
	})
	if *o = append(*o, extra...); len(*o) > maxAdded {
		return fmt.Errorf("%d special tokens, at most %d are allowed", len(*o), maxAdded)
	}
	return err
}

// appendText appends a JSON string that is not empty; other values are passed over.
func appendText(list []string, value json.RawMessage) []string {
	var text string
	if json.Unmarshal(value, &text) != nil || text == "" {
		return list
	}
	return append(list, text)
}

// eachMember calls do for the members of a JSON object in the order of the file.
func eachMember(data []byte, do func(key string, value json.RawMessage) error) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	_, err := dec.Token()
	for err == nil && dec.More() {
		var key json.Token
		var value json.RawMessage
		if key, err = dec.Token(); err != nil {
			break
		}
		if err = dec.Decode(&value); err == nil {
			err = do(key.(string), value) // the decoder returns nothing else as a key
		}
	}
	return inPart(err)
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

// is tells whether t is written as the string text. A token that is written as an object never is, as for llama.cpp's
// converter.
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

// specialList is a list of special tokens. An object in its place is read by [ownTokens].
type specialList []specialToken

func (l *specialList) UnmarshalJSON(data []byte) (err error) {
	if data[0] == '{' {
		return nil
	}
	*l, err = decodeList[specialToken](data, "special tokens", maxAdded)
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

// tokenIDs are the ids by role of config.json and generation_config.json, and the former's architectures.
type tokenIDs struct {
	Architectures []string `json:"architectures"`

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

// decoder returns tokenizer_config.json's added tokens in the order of their ids.
func (s *source) decoder() ([]addedToken, error) {
	var out []addedToken
	for key, t := range s.config.Added {
		id, err := strconv.ParseInt(key, 10, 64)
		if err != nil || strconv.FormatInt(id, 10) != key {
			return nil, s.errorf("tokenizer_config.json", "added_tokens_decoder has the key %q, expected an id", key)
		}
		t.ID = &id
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b addedToken) int { return cmp.Compare(*a.ID, *b.ID) })
	return out, nil
}
