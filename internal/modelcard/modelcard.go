// Package modelcard collects what a GGUF file says about a model's origin: the
// general.* keys, from the name of the checkpoint directory, config.json,
// generation_config.json and the front matter of README.md. The heuristics and
// their precedence are those of llama.cpp's converter, so that both give the same
// keys.
package modelcard

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/phi3conv/phi3conv/formats"
)

// Card is what is known of a model. An empty string or a nil slice is absent.
type Card struct {
	Name         string
	Author       string
	Version      string
	Organization string
	Finetune     string // "instruct"
	Basename     string // "Phi-3"
	Description  string
	SizeLabel    string // "mini", "3.8B"

	License, LicenseName, LicenseLink               string
	SourceURL, SourceDOI, SourceUUID, SourceRepoURL string

	BaseModels []Origin // nil and empty differ: an empty list is written with the count 0
	Datasets   []Origin
	Tags       []string
	Languages  []string

	Sampling []Setting // recommended sampling parameters
}

// Origin is a model or data set that a model was made from.
type Origin struct {
	Name, Author, Version, Organization, Description string
	URL, DOI, UUID, RepoURL                          string
}

// Setting is a sampling parameter: an int32, a float32 or a string by the last
// part of its key.
type Setting struct {
	Key   string
	Value any
}

// Size is the number of weights in the tensors that the GGUF file gets; 0 if it gets none.
type Size struct {
	Params    int64
	Experts   int   // of each layer, 0 for a model without them
	OneExpert int64 // weights without those of all experts but one
}

// Load reads the card of a checkpoint directory. Errors are of type [formats.Error] and name the file.
func Load(dir string, size Size) (*Card, error) {
	params := size.Params
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, formats.WrapFile(err, dir, "cannot find")
	}
	c := new(Card)
	readme, ok, err := readText(dir, "README.md")
	if err != nil {
		return nil, err
	}
	if ok {
		if err := c.addFrontMatter(readme, params); err != nil {
			return nil, formats.WithPath(err, filepath.Join(dir, "README.md"))
		}
	}
	var config struct {
		NameOrPath string `json:"_name_or_path"`
	}
	if err := readJSON(dir, "config.json", &config); err != nil {
		return nil, err
	}
	if n := config.NameOrPath; strings.Count(n, "/") <= 1 && !isHash(n) { // not a path on somebody's disk
		c.addName(n, params)
	}
	c.addName(directoryName(abs), params)
	switch {
	case c.SizeLabel != "" || params <= 0:
	case size.Experts > 0:
		c.SizeLabel = fmt.Sprintf("%dx%s", size.Experts, roundedCount(size.OneExpert))
	default:
		c.SizeLabel = roundedCount(params)
	}
	if c.Sampling, err = sampling(dir); err != nil {
		return nil, err
	}
	return c, nil
}

// hash is a commit's or a file's, in hexadecimal, as caches name directories.
var hash = regexp.MustCompile(`^(sha256[-:])?([0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64})$`)

func isHash(name string) bool { return hash.MatchString(filepath.Base(name)) }

// BaseName returns the last part of a path; of a directory that a cache names after a commit, the model's name.
func BaseName(path string) string {
	path = filepath.Clean(path)
	if abs, err := filepath.Abs(path); err == nil && isHash(path) {
		path = directoryName(abs)
	}
	return filepath.Base(path)
}

// directoryName returns the name that a directory gives its model: in the cache of the Hugging Face hub,
// models--OWNER--NAME/snapshots/COMMIT, that is OWNER/NAME; elsewhere the last part of the path that is no hash.
func directoryName(abs string) string {
	for dir := abs; ; dir = filepath.Dir(dir) {
		base := filepath.Base(dir)
		if repo, ok := strings.CutPrefix(base, "models--"); ok {
			return strings.Replace(repo, "--", "/", 1)
		}
		if dir == filepath.Dir(dir) {
			return "model"
		}
		inSnapshots := filepath.Base(filepath.Dir(dir)) == "snapshots" // a commit or a branch
		if base != "snapshots" && base != "blobs" && !isHash(base) && !inSnapshots {
			return base
		}
	}
}

// addName fills what is absent from a model's name.
func (c *Card) addName(id string, params int64) {
	n := parseName(id, params)
	org := title(n.organization)
	for _, f := range []struct{ to, from *string }{
		{&c.Organization, &org},
		{&c.Basename, &n.basename},
		{&c.Finetune, &n.finetune},
		{&c.Version, &n.version},
		{&c.SizeLabel, &n.sizeLabel},
	} {
		if *f.to == "" {
			*f.to = *f.from
		}
	}
	if c.Name == "" {
		c.Name = title(n.full)
	}
}

// settings are the sampling parameters of generation_config.json that have a key.
var settings = []struct {
	field, key string
	parse      func(json.RawMessage) (any, error)
}{
	{"sequence", "sequence", parseJSON[string]},
	{"top_k", "top_k", parseJSON[int32]},
	{"top_p", "top_p", parseJSON[float32]},
	{"min_p", "min_p", parseJSON[float32]},
	{"xtc_probability", "xtc_probability", parseJSON[float32]},
	{"xtc_threshold", "xtc_threshold", parseJSON[float32]},
	{"temperature", "temp", parseJSON[float32]},
	{"penalty_last_n", "penalty_last_n", parseJSON[int32]},
	{"penalty_repeat", "penalty_repeat", parseJSON[float32]},
	{"mirostat", "mirostat", parseJSON[int32]},
	{"mirostat_tau", "mirostat_tau", parseJSON[float32]},
	{"mirostat_eta", "mirostat_eta", parseJSON[float32]},
}

func parseJSON[T any](data json.RawMessage) (any, error) {
	var v T
	err := json.Unmarshal(data, &v)
	return v, err
}

func sampling(dir string) ([]Setting, error) {
	const file = "generation_config.json"
	var fields map[string]json.RawMessage
	if err := readJSON(dir, file, &fields); err != nil {
		return nil, err
	}
	var out []Setting
	for _, s := range settings {
		raw, ok := fields[s.field]
		if !ok || string(raw) == "null" {
			continue
		}
		v, err := s.parse(raw)
		if err != nil {
			return nil, formats.FileErrorf(filepath.Join(dir, file), -1,
				"%s is %.40s, expected a value of type %T", s.field, raw, v)
		}
		out = append(out, Setting{s.key, v})
	}
	return out, nil
}

// All yields the general.* keys and values of the card in a GGUF file, those of
// the file itself (architecture, file type, quantization version) not among them.
// Values are of type string, []string, uint32, int32 and float32. What is absent
// has no key.
func (c *Card) All() iter.Seq2[string, any] {
	return func(yield func(string, any) bool) {
		for _, s := range c.pairs() {
			if !yield("general."+s.Key, s.Value) {
				return
			}
		}
	}
}

func (c *Card) pairs() []Setting {
	var out []Setting
	text := func(key, value string) {
		if value != "" {
			out = append(out, Setting{key, value})
		}
	}
	list := func(key string, value []string) {
		if len(value) > 0 {
			out = append(out, Setting{key, value})
		}
	}
	origins := func(key string, list []Origin) {
		if list == nil {
			return
		}
		out = append(out, Setting{key + ".count", uint32(len(list))})
		for i, o := range list {
			for _, f := range o.fields() {
				text(fmt.Sprintf("%s.%d.%s", key, i, f.key), *f.value)
			}
		}
	}
	text("type", "model")
	for _, s := range c.Sampling {
		if s.Value != "" {
			out = append(out, Setting{"sampling." + s.Key, s.Value})
		}
	}
	text("name", c.Name)
	text("author", c.Author)
	text("version", c.Version)
	text("organization", c.Organization)
	text("finetune", c.Finetune)
	text("basename", c.Basename)
	text("description", c.Description)
	text("size_label", c.SizeLabel)
	text("license", c.License)
	text("license.name", c.LicenseName)
	text("license.link", c.LicenseLink)
	text("source.url", c.SourceURL)
	text("source.doi", c.SourceDOI)
	text("source.uuid", c.SourceUUID)
	text("source.repo_url", c.SourceRepoURL)
	origins("base_model", c.BaseModels)
	origins("dataset", c.Datasets)
	list("tags", c.Tags)
	list("languages", c.Languages)
	return out
}

// originField is a field of an Origin by its name in README.md and in the file.
type originField struct {
	key   string
	value *string
}

func (o *Origin) fields() []originField {
	return []originField{
		{"name", &o.Name},
		{"author", &o.Author},
		{"version", &o.Version},
		{"organization", &o.Organization},
		{"description", &o.Description},
		{"url", &o.URL},
		{"doi", &o.DOI},
		{"uuid", &o.UUID},
		{"repo_url", &o.RepoURL},
	}
}

// maxFile bounds the size of a file that is read; README.md files have a few
// kilobytes.
const maxFile = 16 << 20

// readText returns a text file of the directory, which must be UTF-8.
func readText(dir, name string) (text string, ok bool, err error) {
	path := filepath.Join(dir, name)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, formats.WrapFile(err, path, "cannot open")
	}
	defer func() { _ = f.Close() }() // only read from
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return "", false, formats.WrapFile(err, path, "cannot read")
	case len(data) > maxFile:
		return "", false, formats.FileErrorf(path, -1, "larger than %d MiB, the limit", maxFile>>20)
	case !utf8.Valid(data):
		return "", false, formats.FileErrorf(path, -1, "not UTF-8")
	}
	return string(data), true, nil
}

// readJSON reads a JSON file of the directory into v, if there is one.
func readJSON(dir, name string, v any) error {
	text, ok, err := readText(dir, name)
	if !ok {
		return err
	}
	if err := json.Unmarshal([]byte(text), v); err != nil {
		return formats.WrapFile(err, filepath.Join(dir, name), "not the JSON expected")
	}
	return nil
}
