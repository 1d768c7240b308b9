package output

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/phi3conv/phi3conv/internal/atomicfile"
)

// begins says how files of a format begin. Formats that are not here are text.
var begins = map[string]func(b []byte) bool{
	GGUF:    func(b []byte) bool { return bytes.HasPrefix(b, []byte("GGUF")) && !isImatrix(b) },
	PMAP:    func(b []byte) bool { return bytes.HasPrefix(b, []byte("PMAP")) },
	Seal:    func(b []byte) bool { return bytes.HasPrefix(b, []byte("\x89seal")) },
	NumPy:   func(b []byte) bool { return bytes.HasPrefix(b, []byte("\x93NUMPY")) },
	Tar:     func(b []byte) bool { return len(b) > 262 && string(b[257:262]) == "ustar" },
	Imatrix: isImatrix,
}

// isImatrix reports whether a file begins as statistics do: a GGUF file with that general.type, or one of llama.cpp's
// older format, which begins with the number of entries and the first one's name.
func isImatrix(b []byte) bool {
	const key = "general.type\x08\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00imatrix"
	if bytes.HasPrefix(b, []byte("GGUF")) {
		return bytes.Contains(b, []byte(key))
	}
	if len(b) < 8 || b[2] != 0 || b[3] != 0 || b[5] != 0 || b[6] != 0 || b[7] != 0 || len(b) < 8+int(b[4]) {
		return false
	}
	return bytes.HasSuffix(b[8:8+int(b[4])], []byte(".weight"))
}

// FormatOf returns the format that a file begins like, "" for text, and for what cannot be read.
func FormatOf(path string) string {
	if b, err := beginning(path); err == nil {
		for _, format := range slices.Sorted(maps.Keys(begins)) {
			if begins[format](b) {
				return format
			}
		}
	}
	return ""
}

// sameKind reports whether what is there is a file such as the output will be.
func sameKind(x *file) bool {
	b, err := beginning(x.path)
	return err == nil && isKind(b, x.formats)
}

// isKind reports whether a file that begins so is of one of the formats.
func isKind(b []byte, formats []string) bool {
	return slices.ContainsFunc(formats, func(format string) bool {
		if slices.Contains(formats, Imatrix) {
			format = Imatrix // both forms of statistics, of which one is GGUF
		}
		if is := begins[format]; is != nil {
			return is(b)
		}
		return !slices.Contains(b, 0) // every format of models and archives has zero bytes there
	})
}

// beginning returns up to 4096 bytes of a file, none of an object that a store does not have.
func beginning(path string) ([]byte, error) {
	const most = 4096
	if s := atomicfile.StoreOf(path); s != nil {
		return s.Beginning(path, most)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	b := make([]byte, most)
	n, err := io.ReadFull(f, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return b[:n], err
}
