package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/atomicfile"
)

// WriteTensor is a tensor to be written.
type WriteTensor struct {
	Name  string
	DType DType
	Shape []uint64  // PyTorch's order: the last axis varies fastest; empty for a scalar
	Data  io.Reader // as many bytes as type and shape take, little-endian and row-major; may be nil when that is 0
}

// Write writes a file in the canonical form of the reference implementation:
// tensors by descending type, which aligns them all, then by name; the header
// padded with spaces to a multiple of 8 bytes. metadata may be nil; its keys are
// sorted, which the reference leaves to chance.
func Write(w io.Writer, tensors []WriteTensor, metadata map[string]string) error {
	tensors = slices.Clone(tensors)
	slices.SortStableFunc(tensors, func(a, b WriteTensor) int {
		return cmp.Or(-cmp.Compare(a.DType, b.DType), cmp.Compare(a.Name, b.Name))
	})
	header, sizes, err := encodeHeader(tensors, metadata)
	if err != nil {
		return err
	}
	if _, err := w.Write(header); err != nil {
		return err
	}
	for i, t := range tensors {
		if sizes[i] == 0 {
			continue
		}
		n, err := io.CopyN(w, t.Data, sizes[i])
		if err == io.EOF {
			return formats.Errorf(-1, "tensor %q: its data ends after %d bytes of %d", t.Name, n, sizes[i])
		} else if err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		if n, _ := t.Data.Read(make([]byte, 1)); n > 0 {
			return formats.Errorf(-1, "tensor %q: its data does not end after %d bytes", t.Name, sizes[i])
		}
	}
	return nil
}

// Create writes the file at path as [Write] does. The name appears only when
// the file is complete.
func Create(path string, tensors []WriteTensor, metadata map[string]string) error {
	return atomicfile.Stream(path, false, func(w io.Writer) error {
		if err := Write(w, tensors, metadata); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
		return nil
	})
}

// separators undoes the two escapes that encoding/json always makes and the
// reference never. The first pair keeps a backslash that is itself escaped.
var separators = strings.NewReplacer(`\\`, `\\`, `\u2028`, "\u2028", `\u2029`, "\u2029")

// encodeHeader returns everything that comes before the data, and the sizes of
// the tensors, which lie in the order given.
func encodeHeader(tensors []WriteTensor, metadata map[string]string) (header []byte, sizes []int64, err error) {
	if n := len(tensors); n > maxNames-1 { // and __metadata__
		return nil, nil, formats.Errorf(-1, "%d tensors, at most %d are allowed", n, maxNames-1)
	}
	if n := len(metadata); n > maxNames {
		return nil, nil, formats.Errorf(-1, "metadata of %d keys, at most %d are allowed", n, maxNames)
	}
	var o object
	if metadata != nil {
		for k, v := range metadata {
			if !utf8.ValidString(k) || !utf8.ValidString(v) {
				return nil, nil, formats.Errorf(-1, "metadata %q: %q is not valid UTF-8", k, v)
			}
		}
		if err := o.field(metadataName, metadata); err != nil {
			return nil, nil, err
		}
	}
	seen := map[string]bool{metadataName: true} // no tensor may have that name
	var end int64
	for i := range tensors {
		t := &tensors[i]
		if !utf8.ValidString(t.Name) {
			return nil, nil, formats.Errorf(-1, "tensor name %q is not valid UTF-8", t.Name)
		}
		if seen[t.Name] {
			return nil, nil, formats.Errorf(-1, "tensor name %q is taken", t.Name)
		}
		seen[t.Name] = true
		size, err := t.place(&o, end)
		if err != nil {
			return nil, nil, err
		}
		sizes = append(sizes, size)
		end += size
	}
	text := separators.Replace(o.end())
	text += strings.Repeat(" ", -len(text)&7)
	if len(text) > maxHeader {
		return nil, nil, formats.Errorf(-1, "header of %d bytes, at most %d are allowed", len(text), maxHeader)
	}
	header = binary.LittleEndian.AppendUint64(nil, uint64(len(text)))
	return append(header, text...), sizes, nil
}

// place adds to the header that the tensor's data begin at offset begin, and returns their size.
func (t *WriteTensor) place(o *object, begin int64) (size int64, err error) {
	if int(t.DType) >= len(dtypes) {
		return 0, formats.Errorf(-1, "tensor %q: %s is no type", t.Name, t.DType)
	}
	_, size, err = measure(t.DType, t.Shape)
	if err != nil {
		return 0, formats.Errorf(-1, "tensor %q: %v", t.Name, err)
	}
	if size > math.MaxInt64-maxHeader-8-begin {
		return 0, formats.Errorf(-1, "tensor %q: the data are larger than any file", t.Name)
	}
	if size > 0 && t.Data == nil {
		return 0, formats.Errorf(-1, "tensor %q: Data is nil, must have %d bytes", t.Name, size)
	}
	shape := t.Shape
	if shape == nil {
		shape = []uint64{} // not null
	}
	return size, o.field(t.Name, struct {
		DType   string   `json:"dtype"`
		Shape   []uint64 `json:"shape"`
		Offsets [2]int64 `json:"data_offsets"`
	}{t.DType.String(), shape, [2]int64{begin, begin + size}})
}

// object is a JSON object whose names stay in the order in which they come; encoding/json sorts those of a map.
type object struct{ b bytes.Buffer }

func (o *object) field(name string, value any) error {
	if o.b.Len() == 0 {
		o.b.WriteByte('{')
	} else {
		o.b.WriteByte(',')
	}
	if err := o.encode(name); err != nil {
		return err
	}
	o.b.WriteByte(':')
	return o.encode(value)
}

func (o *object) encode(value any) error {
	enc := json.NewEncoder(&o.b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return err
	}
	o.b.Truncate(o.b.Len() - 1) // the encoder ends with a newline
	return nil
}

func (o *object) end() string {
	if o.b.Len() == 0 {
		return "{}"
	}
	return o.b.String() + "}"
}
