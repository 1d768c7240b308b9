package source

import (
	"os"

	"github.com/phi3conv/phi3conv/formats/pmap"
)

func isPMAP(path string, info os.FileInfo) bool { return info.Mode().IsRegular() && pmap.Is(path) }

func openPMAP(path string) (*Model, error) {
	f, err := pmap.Open(path)
	if err != nil {
		return nil, err
	}
	m, err := fromGGUF(path, f.GGUF())
	if err != nil {
		_ = f.Close() // only read from
		return nil, err
	}
	for i := range m.Tensors {
		if t := f.Tensor(m.Tensors[i].GGUF); t != nil && t.Layout == pmap.Panels {
			m.Tensors[i].Panels = f.Mapped(t)
		}
	}
	m.close = f.Close
	return m, nil
}
