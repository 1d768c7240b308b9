package convert

import (
	"context"
	"sync/atomic"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/formats/pmap"
	"golang.org/x/sync/errgroup"
)

// Repack copies a file, see [pmap.OpenGGUF], into the format that the name of path says. Tensors,
// their order and the metadata stay as they are; of split sets one file is made.
func Repack(ctx context.Context, in *gguf.File, path string, lim Limits, sections ...pmap.Extra) (err error) {
	infos := infosOf(in)
	var out output
	if IsPMAP(path) {
		out, err = createPMAP(path, in.Metadata, infos, sections, lim.Threads)
	} else {
		out, err = createGGUF(path, in.Metadata, infos, gguf.Options{})
	}
	if err != nil {
		return err
	}
	defer out.Abort()
	var done atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(1, lim.Threads))
	for i, t := range in.Tensors {
		rowBytes := t.Type.Size(t.Cols())
		step := max(1, pieceBytes/rowBytes/pmap.PanelRows) * pmap.PanelRows
		for row := int64(0); row < t.Rows(); row += step {
			g.Go(func() error {
				if err := ctx.Err(); err != nil {
					return err
				}
				rows := make([]byte, min(step, t.Rows()-row)*rowBytes)
				if n, err := t.ReadAt(rows, row*rowBytes); n < len(rows) {
					return &formats.Error{
						Path: t.Path, Off: t.Offset + row*rowBytes, What: "reading tensor " + t.Name, Err: err,
					}
				}
				if err := out.WriteRows(i, int(row), rows); err != nil {
					return err
				}
				if n := done.Add(int64(len(rows))); lim.Progress != nil {
					lim.Progress(n)
				}
				return nil
			})
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return out.Close()
}

func infosOf(in *gguf.File) []gguf.TensorInfo {
	infos := make([]gguf.TensorInfo, len(in.Tensors))
	for i, t := range in.Tensors {
		infos[i] = t.TensorInfo
	}
	return infos
}

// RepackedSize returns the size in bytes of the file that [Repack] makes.
func RepackedSize(in *gguf.File, path string, sections ...pmap.Extra) (int64, error) {
	if IsPMAP(path) {
		return pmap.Size(in.Metadata, panels(infosOf(in)), sections...)
	}
	shards, err := gguf.Layout(path, in.Metadata, infosOf(in), gguf.Options{})
	if err != nil {
		return 0, err
	}
	return shards[0].Size, nil
}
