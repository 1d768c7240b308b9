package convert

import (
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/formats/pmap"
	"github.com/phi3conv/phi3conv/internal/arch"
)

// output is a file being written.
type output interface {
	// WriteRows writes encoded rows of a tensor from row first on. Calls may run at the same
	// time. For a .pmap file they consist of whole panels.
	WriteRows(tensor, first int, rows []byte) error
	Close() error
	Abort()
}

// IsPMAP tells by its name whether an output is a .pmap file.
func IsPMAP(path string) bool { return strings.HasSuffix(strings.ToLower(path), ".pmap") }

// create starts the output, in the format that its name says.
func (p *Plan) create(path string, threads int) (output, error) {
	if IsPMAP(path) {
		return createPMAP(path, p.Metadata, p.infos(), p.opt.Sections, threads)
	}
	return createGGUF(path, p.Metadata, p.infos(), gguf.Options{SplitMaxSize: p.opt.SplitMaxSize})
}

// ggufOutput is a GGUF file or split set.
type ggufOutput struct {
	*gguf.Writer
	infos []gguf.TensorInfo
}

func createGGUF(path string, md *gguf.Metadata, infos []gguf.TensorInfo, opt gguf.Options) (output, error) {
	w, err := gguf.Create(path, md, infos, opt)
	return &ggufOutput{w, infos}, err
}

func (o *ggufOutput) WriteRows(tensor, first int, rows []byte) error {
	t := &o.infos[tensor]
	return o.WriteTensorAt(tensor, rows, int64(first)*t.Type.Size(t.Cols()))
}

// pmapOutput is a .pmap file.
type pmapOutput struct {
	*pmap.Writer
	threads int
}

func createPMAP(
	path string, md *gguf.Metadata, infos []gguf.TensorInfo, sections []pmap.Extra, threads int,
) (output, error) {
	w, err := pmap.Create(path, md, panels(infos), sections...)
	return &pmapOutput{w, threads}, err
}

// panels lays matrices that are multiplied in panels. Of the embedding single rows are read, unless it is the output
// matrix too. Types that kernels do not multiply as they are remain rows. An expert's matrix of a stack must be whole
// panels, or the stack remains rows.
func panels(infos []gguf.TensorInfo) []pmap.TensorInfo {
	tied := !slices.ContainsFunc(infos, func(t gguf.TensorInfo) bool { return t.Name == arch.Output })
	all := make([]pmap.TensorInfo, len(infos))
	for i, t := range infos {
		all[i].TensorInfo = t
		apart := len(t.Dims) < 3 || t.Dims[1]%pmap.PanelRows == 0
		if len(t.Dims) > 1 && apart && pmap.HasPanels(t.Type) && (tied || t.Name != arch.Embedding) {
			all[i].Layout = pmap.Panels
		}
	}
	return all
}

func (o *pmapOutput) Close() error { return o.Writer.Close(o.threads) }
