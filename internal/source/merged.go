package source

import (
	"encoding/binary"
	"io"
	"math"
	"os"
	"slices"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/lora"
	"github.com/phi3conv/phi3conv/quant"
)

// OpenMerged opens a checkpoint directory with a LoRA adapter of a directory merged into it. All of its tensors are
// F32: rows are merged in float32 as they are read.
func OpenMerged(path, adapter string) (*Model, error) {
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if !info.IsDir() {
		return nil, formats.FileErrorf(path, -1, "expected a checkpoint directory: an adapter is merged into one alone")
	}
	a, err := lora.Open(adapter)
	if err != nil {
		return nil, err
	}
	m, err := openDirectory(formats.Disk, path, a)
	if err != nil {
		_ = a.Close()
		return nil, err
	}
	m.Path, m.Format = path, "safetensors"
	closeModel := m.close
	m.close = func() error {
		_ = a.Close() // only read from
		return closeModel()
	}
	m.Notes = append(m.Notes, "merged with the adapter "+adapter+", which names "+describeBase(a.Base)+" as its base")
	return m, nil
}

func describeBase(name string) string {
	if name == "" {
		return "no model"
	}
	return name
}

// merge puts an adapter over what is held. Where the configuration ties the output matrix to the embedding, PEFT's
// layers of both change the one matrix, and one of them that was saved apart is no longer tied.
func (h *held) merge(a *lora.Adapter, config *arch.Config, dir string) error {
	h.adapter = a
	if config.Tied && a.Unties() {
		config.Tied = false
		for _, pair := range [][2]string{{arch.HFOutput, arch.HFEmbedding}, {arch.HFEmbedding, arch.HFOutput}} {
			if h.byName[pair[0]] == nil && a.Saved(pair[0]) == nil {
				h.byName[pair[0]] = h.byName[pair[1]]
			}
		}
	}
	h.tied = config.Tied
	expected := expectedNames(config)
	for _, name := range a.Names() {
		if !expected[name] {
			return formats.FileErrorf(dir, -1, "the adapter changes %s, which a %s does not have", name,
				config.Class)
		}
	}
	return nil
}

// merged finds a tensor and lays the adapter over it.
func (h *held) merged(name string) (Tensor, error) {
	st := h.adapter.Saved(name)
	if st == nil {
		st = h.byName[name]
	}
	base, err := fileTensor(st)
	if err != nil {
		return Tensor{}, err
	}
	names := []string{name}
	if h.tied && name == arch.HFEmbedding {
		names = append(names, arch.HFOutput)
	}
	var layers []*lora.Layer
	for _, n := range names {
		l := h.adapter.Layer(n)
		if l == nil {
			continue
		}
		if err := l.Fits(base.Shape); err != nil {
			return Tensor{}, formats.WrapFile(err, base.Path, "tensor "+name)
		}
		layers = append(layers, l)
	}
	t := Tensor{Type: quant.F32, Path: base.Path, computed: true}
	t.Shape = base.Shape
	t.R = &mergedRows{base: base, layers: layers}
	return t, nil
}

// mergedRows are the float32 values of a tensor with adapters merged into it, as a file would hold them.
type mergedRows struct {
	base   Tensor
	layers []*lora.Layer
}

// ReadAt merges the rows that the bytes are of.
func (m *mergedRows) ReadAt(p []byte, off int64) (int, error) {
	cols := m.base.Cols()
	rowBytes := int64(4 * cols)
	size := rowBytes * int64(m.base.Rows())
	if off >= size {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), size-off))
	const step = 256 << 10 // bytes of float32 at a time
	most := max(1, step/int(rowBytes))
	raw, values := make([]byte, most*m.base.RowBytes()), make([]float32, most*cols)
	for done := 0; done < n; {
		first := int((off + int64(done)) / rowBytes)
		skip := int((off + int64(done)) % rowBytes)
		rows := min(most, m.base.Rows()-first, (skip+n-done+int(rowBytes)-1)/int(rowBytes))
		x, in := values[:rows*cols], raw[:rows*m.base.RowBytes()]
		if err := m.base.ReadRows(in, first); err != nil {
			return done, err
		}
		m.base.Decode(x, in)
		for _, l := range m.layers {
			if err := l.Apply(x, first); err != nil {
				return done, err
			}
		}
		done += copy(p[done:n], encode(x)[skip:])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func encode(x []float32) []byte {
	out := slices.Grow([]byte(nil), 4*len(x))
	for _, v := range x {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
	}
	return out
}
