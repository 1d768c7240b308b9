package lint

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/tensorfile"
	"github.com/phi3conv/phi3conv/quant"
)

// expected lists the tensors that the configuration asks for.
func (m *model) expected() []arch.Tensor {
	if !m.isGGUF {
		return m.config.Tensors()
	}
	return m.config.TensorsOf(func(name string) bool { return m.file.Tensor(name) != nil })
}

// untied are the vocabularies of the published models that have an output projection of their own.
var untied = map[string][]int{"phi3": {32064, 100352}, "phi2": {51200}, "phimoe": {32064}}

// way returns the rows in which the file holds a tensor: of the first way for which all is there, or of the usual one.
func (m *model) way(t arch.Tensor) []arch.Rows {
	ways := t.Ways(m.isGGUF)
	for _, rows := range ways {
		if !slices.ContainsFunc(rows, func(r arch.Rows) bool { return m.tensor(r.Name) == nil }) {
			return rows
		}
	}
	return ways[0]
}

// wanted lists the tensors that the file should hold for the configuration, with their shapes, each once.
func (m *model) wanted() []arch.Rows {
	var all []arch.Rows
	seen := make(map[string]bool)
	for _, t := range m.expected() {
		if t.Zero && !m.isGGUF {
			continue
		}
		for _, r := range m.way(t) {
			if !seen[r.Name] {
				seen[r.Name] = true
				all = append(all, r)
			}
		}
	}
	return all
}

func missingTensors(m *model, report reportFunc) {
	if len(m.file.Tensors) == 0 {
		report(filepath.Base(m.path), "there are no tensors: a vocabulary, or the first part of a split model alone")
		return
	}
	for _, want := range m.wanted() {
		if m.tensor(want.Name) == nil {
			report(want.Name, "missing, expected %d", want.Shape)
		}
	}
	if c := m.config; m.isGGUF && c.Tied && slices.Contains(untied[c.Arch.Name], c.VocabSize) {
		report(arch.Output, "missing; models with %d tokens do not tie it to the embedding", c.VocabSize)
	}
}

func unexpectedTensors(m *model, report reportFunc) {
	known := make(map[string]bool)
	for _, want := range m.wanted() {
		known[want.Name] = true
	}
	for i := range m.file.Tensors {
		if t := &m.file.Tensors[i]; !known[m.bare(t.Name)] && !m.beside(m.bare(t.Name)) {
			report(t.Name, "%s %d", t.Type, t.Shape)
		}
	}
}

// beside reports whether a tensor may be there though the model does not use it.
func (m *model) beside(name string) bool {
	if m.isGGUF {
		return slices.Contains(factorNames, name)
	}
	return m.config.Ignorable(name) ||
		slices.ContainsFunc(m.config.Others(), func(o arch.Others) bool { return o.Has(name) })
}

func wrappedNames(m *model, report reportFunc) {
	for i := range m.file.Tensors {
		if t := &m.file.Tensors[i]; m.bare(t.Name) != t.Name {
			report(t.Name, "stands for %s, and so may others", m.bare(t.Name))
			return
		}
	}
}

func shapes(m *model, report reportFunc) {
	for _, want := range m.wanted() {
		t := m.tensor(want.Name)
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

func mixedTypes(m *model, report reportFunc) {
	for _, want := range m.expected() {
		var first *tensorfile.Tensor
		for _, r := range m.way(want) {
			t := m.tensor(r.Name)
			switch {
			case t == nil:
			case first == nil:
				first = t
			case t.Type != first.Type:
				report(t.Name, "%s, but %s is %s", t.Type, first.Name, first.Type)
			}
		}
	}
}

func anotherHead(m *model, report reportFunc) {
	embedding, head := m.tensor(arch.HFEmbedding), m.tensor(arch.HFOutput)
	if !m.config.Tied || embedding == nil || head == nil || embedding.Unusable != nil || head.Unusable != nil {
		return
	}
	same, err := sameBytes(embedding, head)
	if err != nil {
		m.err = err
	} else if !same {
		report(head.Name, "tie_word_embeddings is true, but it is not %s", embedding.Name)
	}
}
