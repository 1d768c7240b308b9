package lint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/formats/safetensors"
	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/lora"
	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/phi3conv/phi3conv/internal/tensorfile"
	"github.com/phi3conv/phi3conv/internal/vocab"
)

// model is what the checks look at. Parts that the model lacks, or that could not
// be read, are nil.
type model struct {
	path   string
	isGGUF bool

	file   *tensorfile.File
	broken error // why file could not be opened

	md *gguf.Metadata

	config    *arch.Config
	configErr error

	tokens   *tokenizer
	vocabErr error // why a checkpoint's tokenizer could not be read

	factors map[string][]float32 // LongRoPE factor tensors of a GGUF by name
	values  []*summary           // of file.Tensors

	bareNames map[string]*tensorfile.Tensor // of a checkpoint, without what tools wrapped around their names

	err error // from reading
}

// brokenReasons are the errors that have a check of their own.
var brokenReasons = []error{
	gguf.ErrTruncated, safetensors.ErrTruncated, gguf.ErrUnaligned, gguf.ErrOverlap, safetensors.ErrOverlap,
	safetensors.ErrGap, gguf.ErrSplit, safetensors.ErrIndex, safetensors.ErrNoWeights, gguf.ErrUnsupported,
}

func open(path string) (*model, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	m := &model{path: path, isGGUF: !info.IsDir()}
	if err := lora.Refuse(path); info.IsDir() && err != nil {
		return nil, err
	}
	if m.isGGUF {
		is, err := tensorfile.IsGGUF(path)
		if err != nil {
			return nil, err
		}
		if !is {
			return nil, formats.FileErrorf(path, -1,
				"neither a GGUF file nor a checkpoint directory; of a .safetensors file, check its directory")
		}
	}
	if m.file, m.broken = tensorfile.Open(path); m.broken != nil && !isContent(m.broken) {
		return nil, m.broken
	}
	if m.isGGUF {
		err = m.openGGUF()
	} else {
		err = m.openCheckpoint()
	}
	if err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

func (m *model) close() {
	if m.file != nil {
		_ = m.file.Close() // only read from
	}
}

func (m *model) format() string {
	if m.file != nil {
		return m.file.Format
	}
	if m.isGGUF {
		return "GGUF"
	}
	return "safetensors"
}

// has reports whether the model has what a check needs.
func (m *model) has(n needs) bool {
	var have needs
	for _, p := range []struct {
		need needs
		have bool
	}{
		{inGGUF, m.isGGUF},
		{inCheckpoint, !m.isGGUF},
		{metadata, m.md != nil},
		{config, m.config != nil},
		{tokens, m.tokens != nil},
		{tensors, m.file != nil},
		{values, m.values != nil},
	} {
		if p.have {
			have |= p.need
		}
	}
	return have&n == n
}

func (m *model) openGGUF() error {
	if m.file == nil {
		return nil
	}
	m.md = m.file.GGUF.Metadata
	m.config, m.configErr = arch.FromMetadata(m.md.Get)
	if c := m.config; c != nil {
		c.Tied = m.file.Tensor(arch.Output) == nil
		if t := m.file.Tensor(arch.Embedding); t != nil && len(t.Shape) == 2 {
			c.VocabSize = int(t.Shape[0])
		}
	}
	m.factors = make(map[string][]float32)
	for _, name := range factorNames {
		t := m.file.Tensor(name)
		if t == nil || len(t.Shape) != 1 || t.Elems > tensorfile.ChunkElems {
			continue
		}
		x, _, err := t.Reader().Next()
		if err != nil {
			return err
		}
		m.factors[name] = x
	}
	m.tokens = readTokenizer(m.md)
	return nil
}

var factorNames = []string{arch.LongFactors, arch.ShortFactors}

// openCheckpoint reads what is beside the weights, in the form that a GGUF has.
func (m *model) openCheckpoint() error {
	if m.config, m.configErr = source.ReadConfig(m.path); m.configErr != nil {
		if errors.Is(m.configErr, os.ErrNotExist) {
			m.configErr = fmt.Errorf("the file is missing")
			return nil
		}
		return unlessContent(m.configErr)
	}
	v, err := vocab.Load(m.path, m.config.VocabSize)
	if err != nil {
		m.vocabErr = err
		return unlessContent(err)
	}
	m.md = new(gguf.Metadata)
	m.md.Set("general.architecture", m.config.Arch.Name)
	for _, kv := range m.config.Metadata() {
		m.md.Set(kv.Key, kv.Value)
	}
	for key, value := range v.All() {
		m.md.Set(key, value)
	}
	m.tokens = readTokenizer(m.md)
	return nil
}

// isContent reports whether err is about what a file holds, and not about reading it.
func isContent(err error) bool {
	var content *formats.Error
	var access *fs.PathError
	return errors.As(err, &content) && !errors.As(err, &access)
}

func unlessContent(err error) error {
	if isContent(err) {
		return nil
	}
	return err
}

// errorFile returns the base name of the file that err is about, else of path.
func errorFile(err error, path string) string {
	var e *formats.Error
	if errors.As(err, &e) && e.Path != "" {
		path = e.Path
	}
	return filepath.Base(path)
}

// errorOffset returns the place in the file that err is about, -1 if it has none.
func errorOffset(err error) int64 {
	var e *formats.Error
	if errors.As(err, &e) {
		return e.Off
	}
	return -1
}

// errorWhat is err without the path.
func errorWhat(err error) string {
	var e *formats.Error
	if !errors.As(err, &e) {
		return err.Error()
	}
	bare := *e
	bare.Path = ""
	return bare.Error()
}

// bare returns the name that a tensor of the files has in the model.
func (m *model) bare(name string) string {
	if m.isGGUF {
		return name
	}
	name, _ = arch.Unwrap(name)
	return name
}

// tensor finds a tensor by the name that it has in the model.
func (m *model) tensor(name string) *tensorfile.Tensor {
	if m.isGGUF {
		return m.file.Tensor(name)
	}
	if m.bareNames == nil {
		m.bareNames = map[string]*tensorfile.Tensor{}
		for i := range m.file.Tensors {
			t := &m.file.Tensors[i]
			m.bareNames[m.bare(t.Name)] = t
		}
	}
	return m.bareNames[name]
}

// key returns the architecture's key of the given ending.
func (m *model) key(ending string) string { return m.config.Arch.Name + "." + ending }

// tokenizer is the tokenizer as the GGUF keys have it, whether or not they agree.
type tokenizer struct {
	model, pre, template string
	tokens               []string
	scores               []float32
	types                []int32 // nil if missing
	merges               []string
	ids                  []specialID // those that are there
	stops                []int       // ids that end a generation

	index map[string]int // the first id of each token
	wrong []string       // keys whose value has the wrong type
}

// specialID is the id of a token that has a role.
type specialID struct {
	role, key string
	id        int64
}

// idRoles are the keys of single ids. An id of -1 in one of them means none.
var idRoles = []struct{ role, key string }{
	{"bos", "tokenizer.ggml.bos_token_id"},
	{"eos", "tokenizer.ggml.eos_token_id"},
	{"eot", "tokenizer.ggml.eot_token_id"},
	{"eom", "tokenizer.ggml.eom_token_id"},
	{"unk", "tokenizer.ggml.unknown_token_id"},
	{"sep", "tokenizer.ggml.seperator_token_id"}, // so spelled
	{"pad", "tokenizer.ggml.padding_token_id"},
	{"mask", "tokenizer.ggml.mask_token_id"},
}

// Keys of the tokenizer.
const (
	modelKey    = "tokenizer.ggml.model"
	preKey      = "tokenizer.ggml.pre"
	tokensKey   = "tokenizer.ggml.tokens"
	scoresKey   = "tokenizer.ggml.scores"
	typesKey    = "tokenizer.ggml.token_type"
	mergesKey   = "tokenizer.ggml.merges"
	stopsKey    = "tokenizer.ggml.eos_token_ids"
	templateKey = "tokenizer.chat_template"
	addBOSKey   = "tokenizer.ggml.add_bos_token"
	addEOSKey   = "tokenizer.ggml.add_eos_token"
)

// readTokenizer returns nil where there are no tokens.
func readTokenizer(md *gguf.Metadata) *tokenizer {
	t := new(tokenizer)
	t.model = read(t, md.Str, md, modelKey)
	t.pre = read(t, md.Str, md, preKey)
	t.template = read(t, md.Str, md, templateKey)
	t.tokens = read(t, md.Strings, md, tokensKey)
	t.scores = read(t, md.Float32s, md, scoresKey)
	t.types = read(t, md.Int32s, md, typesKey)
	t.merges = read(t, md.Strings, md, mergesKey)
	if len(t.tokens) == 0 {
		return nil
	}
	t.index = make(map[string]int, len(t.tokens))
	for id, text := range t.tokens {
		if _, ok := t.index[text]; !ok {
			t.index[text] = id
		}
	}
	for _, r := range idRoles {
		if _, ok := md.Get(r.key); !ok {
			continue
		}
		if id := read(t, md.Int, md, r.key); id != vocab.None {
			t.ids = append(t.ids, specialID{r.role, r.key, id})
		}
	}
	for _, role := range []string{"eos", "eot", "eom"} {
		if id, ok := t.id(role); ok {
			t.stops = append(t.stops, id)
		}
	}
	for _, id := range read(t, md.Int32s, md, stopsKey) {
		t.ids = append(t.ids, specialID{"stop", stopsKey, int64(id)})
		t.stops = append(t.stops, int(id))
	}
	slices.Sort(t.stops)
	t.stops = slices.Compact(t.stops)
	return t
}

// read gets a key of the tokenizer and remembers if it has the wrong type.
func read[T any](t *tokenizer, get func(string) (T, bool), md *gguf.Metadata, key string) T {
	v, ok := get(key)
	if _, there := md.Get(key); there && !ok {
		t.wrong = append(t.wrong, key)
	}
	return v
}

// id returns the id of a role.
func (t *tokenizer) id(role string) (int, bool) {
	for _, s := range t.ids {
		if s.role == role && s.id >= 0 && s.id < int64(len(t.tokens)) {
			return int(s.id), true
		}
	}
	return 0, false
}

// has reports whether the vocabulary has the token.
func (t *tokenizer) has(token string) bool {
	_, ok := t.index[token]
	return ok
}

// stopsAt reports whether the token is there and ends a generation.
func (t *tokenizer) stopsAt(token string) bool {
	id, ok := t.index[token]
	return ok && slices.Contains(t.stops, id)
}

// isChat reports whether the vocabulary has tokens that begin a turn.
func (t *tokenizer) isChat() bool {
	return slices.ContainsFunc([]string{"<|user|>", "<|im_start|>"}, t.has)
}

// turnEnds returns the tokens of the vocabulary that end a turn in the template,
// or without a template in Phi's templates.
func (t *tokenizer) turnEnds() []string {
	var ends []string
	for _, token := range []string{"<|end|>", "<|im_end|>"} {
		if t.has(token) && (t.template == "" || strings.Contains(t.template, token)) {
			ends = append(ends, token)
		}
	}
	return ends
}
