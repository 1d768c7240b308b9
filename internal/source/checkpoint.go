package source

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/formats/safetensors"
	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/quant"
)

func isCheckpoint(_ string, info os.FileInfo) bool { return info.IsDir() }

// maxConfig bounds config.json, which is a few kilobytes.
const maxConfig = 16 << 20

// ReadConfig reads the config.json of a checkpoint directory.
func ReadConfig(dir string) (*arch.Config, error) {
	path := filepath.Join(dir, "config.json")
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxConfig {
		return nil, formats.FileErrorf(path, -1, "larger than %d bytes", maxConfig)
	}
	c, err := arch.ParseConfig(data)
	if err != nil {
		return nil, &formats.Error{Path: path, Off: -1, Err: err}
	}
	return c, nil
}

func openCheckpoint(dir string) (*Model, error) {
	config, err := ReadConfig(dir)
	if err != nil {
		return nil, err
	}
	f, err := safetensors.OpenDir(dir)
	if err != nil {
		return nil, err
	}
	tensors, err := checkpointTensors(config, dir, f)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &Model{Config: config, Tensors: tensors, close: f.Close}, nil
}

func checkpointTensors(config *arch.Config, dir string, f *safetensors.File) ([]Tensor, error) {
	if config.Tied {
		same, err := sameHead(f)
		if err != nil {
			return nil, err
		}
		config.Tied = same
	}
	used := map[string]bool{}
	nameOf := func(t arch.Tensor) string { return t.HF }
	tensors, err := match(config.Tensors(), dir, nameOf, func(want arch.Tensor) (Tensor, error) {
		return checkpointTensor(f, want, used)
	})
	if err != nil {
		return nil, err
	}
	for _, st := range f.Tensors {
		if !used[st.Name] && !ignorable(config, st.Name) {
			return nil, formats.FileErrorf(st.Path, -1,
				"tensor %s does not belong to a %s", st.Name, strings.Join(config.Arch.HF, " or "))
		}
	}
	return tensors, nil
}

// checkpointTensor finds a tensor, or the rows that it is made of, and notes the names that it uses.
func checkpointTensor(f *safetensors.File, want arch.Tensor, used map[string]bool) (Tensor, error) {
	if want.Zero {
		t := Tensor{Tensor: want, Type: quant.F32, R: zeros{}, Path: "zeros"}
		return t, nil
	}
	if want.From == nil {
		used[want.HF] = true
		return wholeTensor(f, want.HF)
	}
	for _, ranges := range want.From {
		if slices.ContainsFunc(ranges, func(r arch.Rows) bool { return f.Tensor(r.HF) == nil }) {
			continue
		}
		return gathered(f, want, ranges, used)
	}
	return Tensor{}, errMissing
}

// gathered makes a tensor of rows of others, which must have one type.
func gathered(f *safetensors.File, want arch.Tensor, ranges []arch.Rows, used map[string]bool) (Tensor, error) {
	var t Tensor
	for i, r := range ranges {
		part, err := wholeTensor(f, r.HF)
		if err != nil {
			return Tensor{}, err
		}
		used[r.HF] = true
		switch {
		case !slices.Equal(part.Shape, r.Shape):
			return Tensor{}, formats.FileErrorf(part.Path, -1,
				"tensor %s has shape %v, expected %v from the configuration", r.HF, part.Shape, r.Shape)
		case i > 0 && (part.Type != t.Type || part.IsF64 != t.IsF64):
			return Tensor{}, formats.FileErrorf(part.Path, -1, "tensor %s is %s, and %s is %s: expected one type",
				r.HF, part.TypeName(), ranges[0].HF, t.TypeName())
		}
		s := span{part.Path, part.R, part.Offset, r.Count, r.Step}
		s.offset += int64(r.First) * int64(part.unitBytes())
		if i == 0 {
			t = part
			t.Shape, t.Path, t.Offset, t.R = want.Shape, s.path, s.offset, s.r
		}
		t.spans = append(t.spans, s)
	}
	if len(t.spans) == 1 && t.spans[0].step == 1 {
		t.spans = nil
	}
	return t, nil
}

// wholeTensor finds a tensor by its name in the checkpoint.
func wholeTensor(f *safetensors.File, name string) (Tensor, error) {
	st := f.Tensor(name)
	if st == nil {
		return Tensor{}, errMissing
	}
	t := Tensor{Path: st.Path, Offset: st.Offset, R: st.Source()}
	t.Shape = st.Shape
	if err := st.DType.Usable(); err != nil {
		return Tensor{}, &formats.Error{Path: st.Path, Off: -1, What: "tensor " + name, Err: err}
	}
	if st.DType == safetensors.F64 {
		t.IsF64 = true
		return t, nil
	}
	var err error
	if t.Type, err = quant.ByName(st.DType.String()); err != nil {
		return Tensor{}, &formats.Error{Path: st.Path, Off: -1, What: "tensor " + name, Err: err}
	}
	return t, nil
}

// sameHead reports whether a checkpoint whose configuration ties the output matrix to the embedding has no other one.
// As in transformers, a matrix of its own that differs is used.
func sameHead(f *safetensors.File) (bool, error) {
	a, b := f.Tensor(arch.HFEmbedding), f.Tensor(arch.HFOutput)
	if a == nil || b == nil {
		return true, nil
	}
	if a.DType != b.DType || !slices.Equal(a.Shape, b.Shape) {
		return false, nil
	}
	const step = 1 << 20
	x, y := make([]byte, step), make([]byte, step)
	ra, rb := a.Data(), b.Data()
	for size := ra.Size(); ; {
		n := int(min(step, size))
		if _, err := io.ReadFull(ra, x[:n]); err != nil {
			return false, &formats.Error{Path: a.Path, Off: a.Offset, What: "reading tensor " + a.Name, Err: err}
		}
		if _, err := io.ReadFull(rb, y[:n]); err != nil {
			return false, &formats.Error{Path: b.Path, Off: b.Offset, What: "reading tensor " + b.Name, Err: err}
		}
		if !bytes.Equal(x[:n], y[:n]) {
			return false, nil
		}
		if size -= int64(n); size == 0 {
			return true, nil
		}
	}
}

// ignorable reports whether a tensor of the checkpoint carries nothing that the
// model needs: tables that old versions stored, and a second copy of tied weights.
func ignorable(c *arch.Config, name string) bool {
	return strings.HasSuffix(name, "rotary_emb.inv_freq") || (c.Tied && name == arch.HFOutput)
}
