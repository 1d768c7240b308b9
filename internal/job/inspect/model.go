// Package inspect shows what is in a model: metadata, tensors, and the statistics of their values. It reads GGUF
// and safetensors files of any architecture.
package inspect

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/convert"
	"github.com/phi3conv/phi3conv/internal/modelcard"
	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/phi3conv/phi3conv/internal/tensorfile"
	"github.com/phi3conv/phi3conv/internal/vocab"
)

// Model is an open file or directory.
type Model struct {
	Path   string
	File   *tensorfile.File
	Config *arch.Config // nil if it is no model of a known architecture

	fields map[string]json.RawMessage // config.json of a directory
	source *source.Model              // of a directory that holds all tensors of a model, once it is needed
}

// Open opens a GGUF file, a .pmap file, a .safetensors file or a checkpoint directory.
func Open(path string) (*Model, error) {
	file, err := tensorfile.Open(path)
	if err != nil {
		return nil, err
	}
	m := &Model{Path: path, File: file}
	if file.GGUF != nil {
		m.Config, _ = source.GGUFConfig(file.GGUF) // other architectures are shown too
		return m, nil
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		m.Config, _ = source.ReadConfig(path)
		if f, err := os.Open(filepath.Join(path, "config.json")); err == nil {
			_ = json.NewDecoder(io.LimitReader(f, arch.MaxConfig)).Decode(&m.fields) // shown if it is an object
			_ = f.Close()
		}
	}
	return m, nil
}

// Close closes the files.
func (m *Model) Close() error {
	if m.source != nil {
		_ = m.source.Close() // only read from
	}
	return m.File.Close()
}

// Tensor is a tensor and the name that it has in a GGUF file; its own where it has no other.
type Tensor struct {
	GGUF string
	*tensorfile.Tensor
}

// Tensors lists the tensors in the order of the file. The LongRoPE factors of a checkpoint come after
// them: they are tensors of its GGUF file.
func (m *Model) Tensors() (list []Tensor) {
	byHF := make(map[string]string)
	if m.Config != nil && m.File.GGUF == nil {
		for _, t := range m.Config.Tensors() {
			if t.From == nil || t.GGUF == arch.Embedding { // others are made of several, or of some rows
				byHF[t.HF] = t.GGUF
			}
		}
	}
	for i := range m.File.Tensors {
		t := &m.File.Tensors[i]
		name, ok := byHF[t.Name]
		if !ok {
			name = t.Name
		}
		list = append(list, Tensor{name, t})
	}
	if m.Config != nil && m.File.GGUF == nil {
		list = append(list, m.factors()...)
	}
	return list
}

// Converted lists the tensors that the model has or would have in a GGUF file. Where a directory does not hold all of
// them, it lists those of its files.
func (m *Model) Converted() []Tensor {
	if m.Config == nil || m.File.GGUF != nil {
		return m.Tensors()
	}
	if m.source == nil {
		src, err := source.Open(m.Path)
		if err != nil {
			return m.Tensors()
		}
		m.source = src
	}
	var list []Tensor
	for i := range m.source.Tensors {
		t := tensorfile.FromModel(&m.source.Tensors[i])
		list = append(list, Tensor{t.Name, &t})
	}
	return append(list, m.factors()...)
}

// factors lists the LongRoPE factors of a checkpoint.
func (m *Model) factors() (list []Tensor) {
	factors := m.Config.FactorTensors()
	for _, name := range slices.Sorted(maps.Keys(factors)) {
		t := tensorfile.FromValues(name, factors[name])
		list = append(list, Tensor{name, &t})
	}
	return list
}

// Tensor finds a tensor by its name in the checkpoint or in a GGUF file.
func (m *Model) Tensor(name string) (*tensorfile.Tensor, error) {
	if t := m.File.Tensor(name); t != nil {
		return t, nil
	}
	inGGUF := name
	if m.Config != nil {
		for _, t := range m.Config.Tensors() {
			if t.HF == name {
				inGGUF = t.GGUF
			}
		}
	}
	for _, list := range []func() []Tensor{m.Tensors, m.Converted} { // the second may open the directory once more
		for _, t := range list() {
			if t.GGUF == inGGUF {
				return t.Tensor, nil
			}
		}
	}
	return nil, formats.FileErrorf(m.Path, -1,
		"no tensor %q; phi3conv inspect %s lists those that are there", inGGUF, m.Path)
}

// Metadata returns the keys and values; of a checkpoint directory those that a conversion to GGUF gives, but the
// conversion's own. notes say what is left out.
func (m *Model) Metadata() (md *gguf.Metadata, notes []string) {
	if m.File.GGUF != nil {
		return m.File.GGUF.Metadata, nil
	}
	md = new(gguf.Metadata)
	if m.Config == nil {
		for _, key := range slices.Sorted(maps.Keys(m.File.Safetensors.Metadata)) {
			md.Set(key, m.File.Safetensors.Metadata[key])
		}
		return md, nil
	}
	md.Set("general.architecture", m.Config.Arch.Name)
	for _, kv := range m.Config.Metadata() {
		md.Set(kv.Key, kv.Value)
	}
	card, err := modelcard.Load(m.Path, convert.CardSize(m.Config))
	if err != nil {
		notes = append(notes, fmt.Sprintf("keys of the model card are left out: %v", err))
	} else {
		for key, value := range card.All() {
			md.Set(key, value)
		}
	}
	v, err := vocab.Load(m.Path, m.Config.VocabSize)
	if err != nil {
		notes = append(notes, fmt.Sprintf("keys of the tokenizer are left out: %v", err))
	} else {
		for key, value := range v.All() {
			md.Set(key, value)
		}
	}
	return md, notes
}
