package lint

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/quant"
)

// expected lists the tensors that the configuration asks for.
func (m *model) expected() []arch.Tensor {
	if !m.isGGUF {
		return m.config.Tensors()
	}
	return m.config.TensorsOf(func(name string) bool { return m.file.Tensor(name) != nil })
}

// untied are the vocabularies of the models that have an output projection of
// their own: Phi-3 and Phi-3.5, Phi-4.
var untied = []int{32064, 100352}

func missingTensors(m *model, report reportFunc) {
	if len(m.file.Tensors) == 0 {
		report(filepath.Base(m.path), "there are no tensors: a vocabulary, or the first part of a split model alone")
		return
	}
	for _, want := range m.expected() {
		if name := m.name(want); m.file.Tensor(name) == nil {
			report(name, "missing, expected %d", want.Shape)
		}
	}
	if c := m.config; m.isGGUF && c.Tied && slices.Contains(untied, c.VocabSize) {
		report(arch.Output, "missing; models with %d tokens do not tie it to the embedding", c.VocabSize)
	}
}

func unexpectedTensors(m *model, report reportFunc) {
	known := make(map[string]bool)
	for _, want := range m.expected() {
		known[m.name(want)] = true
	}
	for i := range m.file.Tensors {
		t := &m.file.Tensors[i]
		switch {
		case known[t.Name]:
		case m.isGGUF && slices.Contains(factorNames, t.Name):
		case !m.isGGUF && strings.HasSuffix(t.Name, "rotary_emb.inv_freq"): // a table that old versions stored
		case !m.isGGUF && m.config.Tied && t.Name == "lm_head.weight": // a second copy
		default:
			report(t.Name, "%s %d", t.Type, t.Shape)
		}
	}
}

func shapes(m *model, report reportFunc) {
	for _, want := range m.expected() {
		t := m.file.Tensor(m.name(want))
		if t != nil && !slices.Equal(t.Shape, want.Shape) && !slices.Contains(want.Shape, 0) {
			report(t.Name, "%d, expected %d", t.Shape, want.Shape)
		}
	}
}

func vectorTypes(m *model, report reportFunc) {
	for i := range m.file.Tensors {
		t := &m.file.Tensors[i]
		if (len(t.Shape) == 1 || strings.HasSuffix(t.Name, "_norm.weight")) && t.Block != quant.F32 {
			report(t.Name, "%s, expected F32", t.Type)
		}
	}
}

func unusableTypes(m *model, report reportFunc) {
	for i := range m.file.Tensors {
		if t := &m.file.Tensors[i]; t.Unusable != nil {
			report(t.Name, "%v", t.Unusable)
		}
	}
}
