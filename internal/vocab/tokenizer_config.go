package vocab

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

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
