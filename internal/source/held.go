package source

import (
	"fmt"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/formats/safetensors"
	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/lora"
	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/phi3conv/phi3conv/quant"
)

// held is what the files of a checkpoint hold, under the names of the model's own code.
type held struct {
	tensors []heldTensor // in the order of the files
	byName  map[string]*safetensors.Tensor
	notes   []string
	adapter *lora.Adapter // merged into the tensors, or nil
	tied    bool          // with an adapter: the output matrix is the embedding
}

type heldTensor struct {
	*safetensors.Tensor
	name string
}

// hold takes from the names of tensors what tools wrapped around them. Two that would get the same name are refused.
func hold(f *safetensors.File) (*held, error) {
	h := &held{byName: map[string]*safetensors.Tensor{}}
	wrapped, wrapper := 0, ""
	for _, t := range f.Tensors {
		name, w := arch.Unwrap(t.Name)
		if other := h.byName[name]; other != nil {
			return nil, formats.FileErrorf(t.Path, -1, "tensors %s and %s would both be %s: remove one of them",
				other.Name, t.Name, name)
		}
		if w != "" {
			wrapper, wrapped = w, wrapped+1
		}
		h.byName[name] = t
		h.tensors = append(h.tensors, heldTensor{t, name})
	}
	if wrapped > 0 {
		h.notes = append(h.notes, fmt.Sprintf("the names of %s have %q of a tool around them, which was taken off",
			report.Plural(wrapped, "tensor"), wrapper))
	}
	return h, nil
}

// find finds a tensor by its name.
func (h *held) find(name string) (Tensor, error) {
	if h.adapter != nil {
		return h.merged(name)
	}
	return fileTensor(h.byName[name])
}

// fileTensor makes a tensor of one of a file, errMissing of nil.
func fileTensor(st *safetensors.Tensor) (Tensor, error) {
	if st == nil {
		return Tensor{}, errMissing
	}
	t := Tensor{Path: st.Path, Offset: st.Offset, R: st.Source()}
	t.Shape = st.Shape
	if err := st.DType.Usable(); err != nil {
		return Tensor{}, formats.WrapFile(err, st.Path, "tensor "+st.Name)
	}
	if st.DType == safetensors.F64 {
		t.IsF64 = true
		return t, nil
	}
	var err error
	if t.Type, err = quant.ByName(st.DType.String()); err != nil {
		return Tensor{}, formats.WrapFile(err, st.Path, "tensor "+st.Name)
	}
	return t, nil
}

// unexpected says which tensors are there that the model does not have, "" if there are none.
func (h *held) unexpected(config *arch.Config) string {
	expected := expectedNames(config)
	var names []string
	for _, t := range h.tensors {
		if !expected[t.name] && !config.Ignorable(t.name) {
			names = append(names, t.Name)
		}
	}
	switch {
	case len(names) == 0:
		return ""
	case slices.ContainsFunc(names, isAdapters):
		return "; the files have an adapter that was not merged: save the model after peft's merge_and_unload"
	}
	return fmt.Sprintf("; the files have %s not of a %s: %s", report.Plural(len(names), "tensor"),
		config.Class, strings.Join(names[:min(len(names), 3)], ", "))
}

// expectedNames returns the names of the tensors in which a checkpoint may hold the model.
func expectedNames(config *arch.Config) map[string]bool {
	names := map[string]bool{}
	for _, want := range config.Tensors() {
		for _, rows := range want.Ways(false) {
			for _, r := range rows {
				names[r.Name] = true
			}
		}
	}
	return names
}

// isAdapters reports whether a tensor's name is one that PEFT gives.
func isAdapters(name string) bool {
	for _, part := range []string{
		".lora_A.", ".lora_B.", ".base_layer.", ".modules_to_save.", ".lora_magnitude_vector",
	} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}
