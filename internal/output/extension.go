package output

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/internal/usage"
)

// Formats of outputs, see [Output.Formats].
const (
	GGUF     = "GGUF"
	PMAP     = ".pmap"
	Seal     = "seal"
	Imatrix  = "imatrix.dat"
	Shard    = "calibration shard"
	NumPy    = "NumPy"
	YAML     = "YAML"
	JSON     = "JSON"
	Markdown = "Markdown"
	HTML     = "HTML"
	XML      = "XML"
	Tar      = "tar"
	text     = "text"
)

// extensions say which format a file has. A name with any other extension, or none, can have each format.
var extensions = map[string]string{
	".gguf": GGUF, ".pmap": PMAP, ".seal": Seal, ".shard": Shard, ".dat": Imatrix, ".npy": NumPy,
	".yaml": YAML, ".yml": YAML,
	".json": JSON, ".md": Markdown, ".markdown": Markdown, ".html": HTML, ".htm": HTML, ".xml": XML, ".tar": Tar,
	".txt": text,

	".safetensors": "safetensors", ".pt": "PyTorch", ".pth": "PyTorch", ".bin": "PyTorch", ".ckpt": "PyTorch",
	".onnx": "ONNX", ".tflite": "TensorFlow Lite", ".h5": "HDF5", ".npz": "NumPy archive", ".jsonl": "JSON lines",
	".csv": "CSV", ".pdf": "PDF", ".zip": "zip", ".gz": "gzip", ".tgz": "gzip", ".zst": "zstd", ".xz": "xz",
	".bz2": "bzip2", ".7z": "7z",
}

// checkExtension refuses an extension that says another format than the output has.
func checkExtension(x *file) error {
	ext := strings.ToLower(filepath.Ext(x.path))
	format, known := extensions[ext]
	if !known || x.beside || slices.Contains(x.formats, format) ||
		format == text && slices.Contains(x.formats, Markdown) || x.kind == Directory && x.old != nil {
		return nil
	}
	return usage.Errorf("%s %s: %s is the extension of %s, and this is written as %s",
		x.name, x.path, ext, format, strings.Join(x.formats, " or "))
}
