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
	"strings"
	"unicode/utf8"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/arch"
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
	tiktoken   []byte           // known.Tiktoken; nil if absent
	tokenizer  *tokenizerJSON   // tokenizer.json; nil if absent
	config     *tokenizerConfig // tokenizer_config.json; nil if absent
	added      []entry          // added_tokens.json
	specialMap specialTokens    // special_tokens_map.json
	model      tokenIDs         // config.json
	generation tokenIDs         // generation_config.json
	known      arch.Tokenizer   // what the model's published code decides
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
	s.known = s.knownTokenizer()
	if s.known.Tiktoken != "" {
		if s.tiktoken, err = readFile(dir, s.known.Tiktoken); err != nil {
			return nil, err
		}
		if s.tiktoken != nil {
			s.tokenizer = nil // the model's own code does not read it
		}
	}
	return s, nil
}

// knownTokenizer returns what is known of the tokenizer of config.json's architecture, or else of the tokenizer's
// class.
func (s *source) knownTokenizer() arch.Tokenizer {
	for _, a := range arch.Archs {
		if slices.ContainsFunc(s.model.Architectures, a.Has) {
			return a.Tokenizer
		}
	}
	if s.config == nil {
		return arch.Tokenizer{}
	}
	for _, a := range arch.Archs {
		if t := a.Tokenizer; t.Class != "" && t.Class == strings.TrimSuffix(s.config.Class, "Fast") {
			return t
		}
	}
	return arch.Tokenizer{}
}

func (s *source) path(name string) string { return filepath.Join(s.dir, name) }

// errorf makes an error about one of the directory's files.
func (s *source) errorf(name, format string, args ...any) error {
	return formats.FileErrorf(s.path(name), -1, format, args...)
}

// sentencePiece tells which kind of tokenizer the directory holds. tokenizer.json decides; without it
// tokenizer_class does when it names byte-level BPE, and otherwise the files do.
func (s *source) sentencePiece() bool {
	if s.tokenizer != nil {
		byteLevel := func(c component) bool { return c.Type == "ByteLevel" }
		return !s.rebuilds() && !slices.ContainsFunc(flatten(s.tokenizer.PreTokenizer), byteLevel) &&
			(s.spm != nil || s.tokenizer.Model.ByteFallback)
	}
	return s.spm != nil && (s.config == nil || s.config.Class != "GPT2Tokenizer")
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

// readFile returns a file of the directory, or nil if there is none.
func readFile(dir, name string) ([]byte, error) {
	path := filepath.Join(dir, name)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, formats.WrapFile(err, path, "cannot open")
	}
	defer func() { _ = f.Close() }() // only read from
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, formats.WrapFile(err, path, "cannot read")
	}
	if len(data) > maxFile {
		return nil, formats.FileErrorf(path, -1, "larger than %d MiB, the limit for tokenizer files", maxFile>>20)
	}
	if err := formats.LFSPointer(data); err != nil {
		return nil, formats.WithPath(err, path)
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
