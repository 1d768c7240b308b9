package convert

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/modelcard"
	"github.com/phi3conv/phi3conv/internal/vocab"
)

const keyName = "general.name"

func (p *Plan) metadata() (*gguf.Metadata, error) {
	md := new(gguf.Metadata)
	if from := p.Source.Metadata; from != nil {
		md = from.Clone()
	} else if err := p.describe(md); err != nil {
		return nil, err
	}
	if p.opt.Name != "" {
		md.Set(keyName, p.opt.Name)
	}
	md.Set("general.file_type", p.opt.Policy.FileType.GGUF())
	md.Set("general.quantization_version", uint32(2)) // of ggml's block layouts
	if s := p.opt.Imatrix; s != nil {                 // llama-quantize's keys
		md.Set("quantize.imatrix.file", filepath.Base(s.Path))
		if len(s.Datasets) > 0 {
			md.Set("quantize.imatrix.dataset", s.Datasets[0])
		}
		md.Set("quantize.imatrix.entries_count", uint32(len(s.Tensors)))
		if s.Chunks > 0 {
			md.Set("quantize.imatrix.chunks_count", uint32(s.Chunks))
		}
	}
	return md, nil
}

// describe fills in the metadata of a checkpoint directory, in the order of
// llama.cpp's converter.
func (p *Plan) describe(md *gguf.Metadata) error {
	m := p.Source
	card, err := modelcard.Load(m.Path, CardSize(m.Config))
	if err != nil {
		return err
	}
	voc, err := vocab.Load(m.Path, m.Config.VocabSize)
	if err != nil {
		return err
	}
	md.Set("general.architecture", m.Config.Arch.Name)
	for key, value := range card.All() {
		md.Set(key, value)
	}
	for _, kv := range m.Config.Metadata() {
		md.Set(kv.Key, kv.Value)
	}
	for key, value := range voc.All() {
		md.Set(key, value)
	}
	return nil
}

// CardSize counts the weights of a model for its card.
func CardSize(c *arch.Config) modelcard.Size {
	all, one := c.Params()
	size := modelcard.Size{Params: all, OneExpert: one}
	if c.Experts != nil {
		size.Experts = c.Experts.Count
	}
	return size
}

// Notes says what a user of the output should know.
func (p *Plan) Notes() []string {
	notes := slices.Clone(p.Source.Notes)
	add := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	if name, _ := p.Metadata.Str(keyName); p.needsName(name) {
		add("llama.cpp drops white space after chat tokens, as this tokenizer demands, only if general.name "+
			"contains \"Phi-3\"; it is %q, --model-name changes it", name)
	}
	if n := p.withoutImportance(); n > 0 {
		add("--imatrix has nothing for %d of the tensors that are quantized", n)
	}
	for _, o := range p.opt.Policy.Overrides {
		if !slices.ContainsFunc(p.Tensors, func(t Tensor) bool { return o.Pattern.MatchString(t.Name) }) {
			add("--tensor-type %q matches no tensor", o.Pattern)
		}
	}
	return notes
}

// needsName reports whether llama.cpp treats the tokenizer rightly only with another name of the model.
func (p *Plan) needsName(name string) bool {
	model, _ := p.Metadata.Str("tokenizer.ggml.model")
	_, rstrip := p.Metadata.Get("phi3conv.rstrip_token_ids")
	name = strings.ToLower(name)
	return model == vocab.SentencePiece && rstrip && !strings.Contains(name, "phi-3") && !strings.Contains(name, "phi3")
}

// withoutImportance counts the tensors that are quantized and that the importance matrix has nothing for.
func (p *Plan) withoutImportance() int {
	n := 0
	for i := range p.Tensors {
		t := &p.Tensors[i]
		if p.opt.Imatrix != nil && t.Type.IsQuantized() && t.importance == nil && t.Name != arch.Embedding {
			n++
		}
	}
	return n
}
