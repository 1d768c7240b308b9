// Package pmap reads and writes .pmap files. Such a file is a model whose weights lie
// as the kernels read them, so that they are used where the file is mapped. docs/format-pmap.md
// is the specification.
//
// A .pmap file stands for a GGUF file: it holds that file's header as it is, and the data of
// its tensors in another order. [File.GGUF] presents it as that file, so that
// whatever reads GGUF files reads .pmap files.
package pmap

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/quant"
)

// Constants of the format.
const (
	Version = 1

	magic       = "PMAP\r\n\x1a\n" // with line ends, as PNG's, so that a transfer as text is noticed
	headerBytes = 32
	entryBytes  = 40 // of the table of contents
	tensorBytes = 32 // of the tensor table
	pageBytes   = 16 << 10
	tensorAlign = 64
	chunkBytes  = 1 << 20 // of the hash tree

	maxSections = 64 // ours: more than any file has
)

// Names of sections.
const (
	sectionGGUF    = "gguf"
	sectionTensors = "tensors"
	sectionWeights = "weights"
	sectionSHA256  = "sha256"
	// SectionSeal is an optional section: a seal of the original model, see package seal.
	SectionSeal = "seal"
)

var knownSections = []string{sectionGGUF, sectionTensors, sectionWeights, sectionSHA256, SectionSeal}

// Flags of a section.
const (
	flagRequired = 1 << 0 // a reader that does not know the section must refuse the file
	flagOwn      = 1 << 1 // the section has checksums of its own, and [Section.CRC] is 0
)

// PanelRows is the number of rows in a panel.
const PanelRows = 16

var _ [PanelRows]struct{} = [kern.Rows]struct{}{} // they are equal

// Layout is how a tensor's rows lie in the file.
type Layout uint32

const (
	// Rows one after the other, as in a GGUF file.
	Rows Layout = 0
	// Panels of 16 rows, see docs/format-pmap.md.
	Panels Layout = 1
)

// HasPanels reports whether tensors of a type can lie in panels: whether kernels multiply them as they are.
func HasPanels(t quant.Type) bool { return kern.HasFormat(t.GGML()) }

// check refuses panels of types that have none.
func (l Layout) check(name string, t quant.Type) error {
	if l == Panels && !HasPanels(t) {
		return formats.Wrapf(ErrUnsupported, -1, "tensor %q is %s in panels, expected rows", name, t)
	}
	return nil
}

// size returns the number of bytes that a matrix takes in this layout.
func (l Layout) size(t quant.Type, rows, cols int64) int64 {
	if l == Rows {
		return t.Size(rows * cols)
	}
	return (rows + kern.Rows - 1) / kern.Rows * int64(kern.PanelBytes(kern.FormatOf(t.GGML()), int(cols)))
}

var (
	le         = binary.LittleEndian
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

func alignUp(n, to int64) int64 { return (n + to - 1) / to * to }
