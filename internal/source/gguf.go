package source

import (
	"fmt"
	"os"
	"strings"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/quant"
)

func isGGUF(path string, info os.FileInfo) bool {
	if info.Mode().IsRegular() && strings.HasSuffix(strings.ToLower(path), ".gguf") {
		return true
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	var magic [4]byte
	_, err = f.ReadAt(magic[:], 0)
	return err == nil && string(magic[:]) == "GGUF"
}

func openGGUF(path string) (*Model, error) { return openGGUFIn(formats.Disk, path) }

func openGGUFIn(files formats.Files, path string) (*Model, error) {
	f, err := gguf.OpenIn(files, path)
	if err != nil {
		return nil, err
	}
	m, err := fromGGUF(path, f)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return m, nil
}

func fromGGUF(path string, f *gguf.File) (*Model, error) {
	c, err := GGUFConfig(f)
	if err != nil {
		return nil, formats.WrapFile(err, path, "")
	}
	expected := c.TensorsOf(func(name string) bool { return f.Tensor(name) != nil })
	tensors, used, err := match(expected, path, true, func(name string) (Tensor, error) {
		if gt := f.Tensor(name); gt != nil {
			return ggufTensor(gt), nil
		}
		return Tensor{}, errMissing
	})
	if err != nil {
		return nil, err
	}
	for _, gt := range f.Tensors {
		if !used[gt.Name] && gt.Name != arch.LongFactors && gt.Name != arch.ShortFactors {
			return nil, formats.FileErrorf(path, -1, "tensor %s does not belong to a %s model", gt.Name, c.Arch.Name)
		}
	}
	m := &Model{Config: c, Tensors: tensors, Metadata: f.Metadata, close: f.Close}
	for _, name := range []string{arch.LongFactors, arch.ShortFactors} {
		if gt := f.Tensor(name); gt != nil {
			m.factors.weights += gt.Elems()
			m.factors.bytes += gt.Size()
		}
	}
	return m, nil
}

func ggufTensor(gt *gguf.Tensor) Tensor {
	t := Tensor{Type: gt.Type, Path: gt.Path, Offset: gt.Offset, R: gt.Source()}
	for i := len(gt.Dims) - 1; i >= 0; i-- { // GGUF has the contiguous axis first
		t.Shape = append(t.Shape, gt.Dims[i])
	}
	return t
}

// GGUFConfig reads the configuration from a file's metadata and tensors.
func GGUFConfig(f *gguf.File) (*arch.Config, error) {
	c, err := arch.FromMetadata(f.Metadata.Get)
	if err != nil {
		return nil, err
	}
	c.Tied = f.Tensor(arch.Output) == nil
	embd := f.Tensor(arch.Embedding)
	if embd == nil {
		return nil, fmt.Errorf("tensor token_embd.weight is missing")
	}
	if len(embd.Dims) != 2 || embd.Dims[1] == 0 || embd.Dims[1] > 1<<24 {
		return nil, fmt.Errorf(
			"tensor token_embd.weight has dimensions %v, expected %d columns and one row for each token", embd.Dims,
			c.Hidden)
	}
	c.VocabSize = int(embd.Dims[1])
	long, short := f.Tensor(arch.LongFactors), f.Tensor(arch.ShortFactors)
	switch {
	case long == nil && short == nil:
		if c.LongRope != nil {
			return nil, fmt.Errorf("%s.rope.scaling.attn_factor is there but tensors %s and %s are missing",
				c.Arch.Name, arch.LongFactors, arch.ShortFactors)
		}
		return c, nil
	case long == nil || short == nil:
		return nil, fmt.Errorf("of the tensors %s and %s only one is there", arch.LongFactors, arch.ShortFactors)
	}
	if c.RopeScale != 1 {
		return nil, fmt.Errorf("%s.rope.scaling.factor scales positions, but there are factors of LongRoPE: expected "+
			"one of them", c.Arch.Name)
	}
	factorsOf := [2][]float32{}
	for i, t := range []*gguf.Tensor{short, long} {
		if factorsOf[i], err = factors(t, c.RotaryDims/2); err != nil {
			return nil, err
		}
	}
	c.SetFactors(factorsOf[0], factorsOf[1], f.Metadata.Get)
	return c, nil
}

func factors(gt *gguf.Tensor, n int) ([]float32, error) {
	if gt.Type != quant.F32 || len(gt.Dims) != 1 || gt.Dims[0] != uint64(n) {
		return nil, fmt.Errorf("tensor %s is %s %v, expected F32 [%d]", gt.Name, gt.Type, gt.Dims, n)
	}
	buf, x := make([]byte, 4*n), make([]float32, n)
	if _, err := gt.ReadAt(buf, 0); err != nil {
		return nil, err
	}
	quant.F32.Dequantize(x, buf)
	for i, v := range x {
		if !(v > 0) || v > 1e30 {
			return nil, fmt.Errorf("tensor %s: factor %d is %g, expected a number above 0", gt.Name, i, v)
		}
	}
	return x, nil
}
