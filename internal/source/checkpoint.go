package source

import (
	"io"
	"os"
	"path/filepath"
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
	used := map[string]bool{}
	nameOf := func(t arch.Tensor) string { return t.HF }
	tensors, err := match(config.Tensors(), dir, nameOf, func(name string) (Tensor, error) {
		st := f.Tensor(name)
		if st == nil {
			return Tensor{}, errMissing
		}
		used[name] = true
		t := Tensor{Path: st.Path, Offset: st.Offset, R: st.Source()}
		t.Shape = st.Shape
		if err := st.DType.Usable(); err != nil {
			return Tensor{}, &formats.Error{Path: st.Path, Off: -1, What: "tensor " + name, Err: err}
		}
		switch st.DType {
		case safetensors.F64:
			t.IsF64 = true
		default:
			typ, err := quant.ByName(st.DType.String())
			if err != nil {
				return Tensor{}, &formats.Error{Path: st.Path, Off: -1, What: "tensor " + name, Err: err}
			}
			t.Type = typ
		}
		return t, nil
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

// ignorable reports whether a tensor of the checkpoint carries nothing that the
// model needs: tables that old versions stored, and a second copy of tied weights.
func ignorable(c *arch.Config, name string) bool {
	return strings.HasSuffix(name, "rotary_emb.inv_freq") || (c.Tied && name == "lm_head.weight")
}
