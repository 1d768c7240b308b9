package source

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/formats/safetensors"
	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/lora"
	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/phi3conv/phi3conv/internal/work"
)

func isCheckpoint(_ string, info os.FileInfo) bool { return info.IsDir() }

// ReadConfig reads the config.json of a checkpoint directory.
func ReadConfig(dir string) (*arch.Config, error) {
	path := filepath.Join(dir, "config.json")
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, arch.MaxConfig+1))
	if err != nil {
		return nil, err
	}
	if len(data) > arch.MaxConfig {
		return nil, formats.FileErrorf(path, -1, "larger than %d bytes", arch.MaxConfig)
	}
	if err := formats.LFSPointer(data); err != nil {
		return nil, formats.WithPath(err, path)
	}
	c, err := arch.ParseConfig(data)
	if err != nil {
		return nil, formats.WrapFile(err, path, "")
	}
	return c, nil
}

func openCheckpoint(dir string) (*Model, error) { return openDirectory(formats.Disk, dir, nil) }

// openDirectory opens a checkpoint directory. The adapter is merged into it, unless it is nil.
func openDirectory(files formats.Files, dir string, adapter *lora.Adapter) (*Model, error) {
	if err := lora.Refuse(dir); err != nil {
		return nil, err
	}
	config, err := ReadConfig(dir)
	if err != nil {
		return nil, err
	}
	f, err := safetensors.OpenDirIn(files, dir)
	if err != nil {
		return nil, err
	}
	m, err := fromCheckpoint(config, dir, f, adapter)
	if err != nil {
		_ = f.Close()
		if config.Quantized != "" {
			return nil, fmt.Errorf("the checkpoint is already quantized (quantization_config in config.json: %s); "+
				"start from the original: %w", config.Quantized, err)
		}
		return nil, err
	}
	if config.Quantized != "" {
		m.Notes = append(m.Notes, "quantization_config in config.json is left over ("+config.Quantized+
			"): no tensor is quantized")
	}
	return m, nil
}

func fromCheckpoint(
	config *arch.Config, dir string, f *safetensors.File, adapter *lora.Adapter,
) (*Model, error) {
	h, err := hold(f)
	if err != nil {
		return nil, err
	}
	if config.Tied {
		same, err := sameHead(h)
		if err != nil {
			return nil, err
		}
		if config.Tied = same; !same {
			config.Resolved = append(config.Resolved, "tie_word_embeddings is true, but "+arch.HFOutput+
				" is another matrix than "+arch.HFEmbedding+": it counts, as in transformers")
		}
	}
	if adapter != nil {
		if err := h.merge(adapter, config, dir); err != nil {
			return nil, err
		}
	}
	tensors, used, err := match(config.Tensors(), dir, false, h.find)
	var missing *missingError
	if errors.As(err, &missing) {
		missing.there = h.unexpected(config)
		return nil, formats.WrapFile(missing, dir, "")
	}
	if err != nil {
		return nil, err
	}
	left, err := others(config, dir, h, used)
	if err != nil {
		return nil, err
	}
	notes := slices.Concat(config.Resolved, h.notes, left)
	return &Model{Config: config, Tensors: tensors, Notes: notes, close: f.Close}, nil
}

// others looks at the tensors that the model does not use, and says which are left out.
func others(config *arch.Config, dir string, h *held, used map[string]bool) ([]string, error) {
	all := config.Others()
	count := make([]int, len(all))
	for _, st := range h.tensors {
		i := slices.IndexFunc(all, func(o arch.Others) bool { return o.Has(st.name) })
		switch {
		case used[st.name] || config.Ignorable(st.name):
		case i >= 0:
			count[i]++
		case isAdapters(st.name):
			return nil, formats.FileErrorf(st.Path, -1, "tensor %s is an adapter's that was not merged: save the "+
				"model after peft's merge_and_unload", st.Name)
		default:
			return nil, formats.FileErrorf(st.Path, -1, "tensor %s does not belong to a %s", st.Name, config.Class)
		}
	}
	var notes []string
	for i, o := range all {
		names := strings.Join(o.Names, " or ")
		switch {
		case count[i] > 0:
			notes = append(notes, fmt.Sprintf("left out: %s (%s with %s in the name); this is %s",
				o.What, report.Plural(count[i], "tensor"), names, o.Left))
		case o.Needed:
			return nil, formats.FileErrorf(dir, -1,
				"there is no tensor with %s in its name, as every %s has: %s is missing", names, config.Class, o.What)
		}
	}
	return notes, nil
}

// sameHead reports whether a checkpoint whose configuration ties the output matrix to the embedding has no other one.
// As in transformers, a matrix of its own that differs is used.
func sameHead(h *held) (bool, error) {
	a, b := h.byName[arch.HFEmbedding], h.byName[arch.HFOutput]
	if a == nil || b == nil {
		return true, nil
	}
	if a.DType != b.DType || !slices.Equal(a.Shape, b.Shape) {
		return false, nil
	}
	read := func(t *safetensors.Tensor) func([]byte, int64) error {
		return func(piece []byte, off int64) error { return readAt(t.Source(), piece, t.Offset+off, t.Path, t.Name) }
	}
	return work.SameBytes(a.Size(), 1<<20, read(a), read(b))
}
