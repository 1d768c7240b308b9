package stats

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/quant"
)

// Keys and names of llama.cpp's GGUF form, and of ours beside them. Readers of llama.cpp
// skip keys and tensors that they do not know.
const (
	keyType       = "general.type"
	typeImatrix   = "imatrix"
	keyDatasets   = "imatrix.datasets"
	keyChunkCount = "imatrix.chunk_count"
	keyChunkSize  = "imatrix.chunk_size"

	keyWeights   = "phi3conv.calibration.weights_sha256"
	keyTokenizer = "phi3conv.calibration.tokenizer_sha256"
	keyTexts     = "phi3conv.calibration.texts_sha256"
	keySeed      = "phi3conv.calibration.seed"
	keyTokens    = "phi3conv.calibration.tokens"
	keyLengths   = "phi3conv.calibration.lengths"

	suffixSums      = ".in_sum2"
	suffixCounts    = ".counts"
	suffixGradients = ".out_grad2" // squared gradients: for each part of the outputs, for each token
	suffixOutputs   = ".out_sum2"  // sums of squared gradients, of each output
	suffixPairs     = ".out_corr"  // correlations of gradients, of pairs of outputs: see OutputMoments
)

func openGGUF(path string) (*File, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	s, err := readGGUF(path, f)
	if err == nil {
		err = s.check()
	}
	if err != nil {
		_ = f.Close()
		return nil, formats.WithPath(err, path)
	}
	return s, nil
}

func readGGUF(path string, f *gguf.File) (*File, error) {
	s := &File{Path: path, file: f}
	if t, _ := f.Metadata.Str(keyType); t != typeImatrix {
		return nil, formats.Errorf(-1, "%s is %q, expected %q: not an importance matrix", keyType, t, typeImatrix)
	}
	var ok [3]bool
	var count, size uint64
	s.Datasets, ok[0] = f.Metadata.Strings(keyDatasets)
	count, ok[1] = f.Metadata.Uint(keyChunkCount)
	size, ok[2] = f.Metadata.Uint(keyChunkSize)
	for i, key := range []string{keyDatasets, keyChunkCount, keyChunkSize} {
		if !ok[i] {
			return nil, formats.Errorf(-1, "key %s is missing or of another type", key)
		}
	}
	s.ChunkCount, s.ChunkSize = int(min(count, math.MaxInt32)), int(min(size, math.MaxInt32))
	if err := s.readOrigin(f.Metadata); err != nil {
		return nil, err
	}
	for _, t := range f.Tensors {
		name, isSums := strings.CutSuffix(t.Name, suffixSums)
		if base, isCounts := strings.CutSuffix(t.Name, suffixCounts); isCounts && f.Tensor(base+suffixSums) == nil {
			return nil, formats.Errorf(t.Offset, "tensor %s without %s", t.Name, base+suffixSums)
		}
		if !isSums {
			continue
		}
		counts := f.Tensor(name + suffixCounts)
		if counts == nil {
			return nil, formats.Errorf(t.Offset, "tensor %s without %s", t.Name, name+suffixCounts)
		}
		e := Entry{Name: name}
		var err error
		if e.Sums, err = readFloats(t); err != nil {
			return nil, err
		}
		if e.Counts, err = readFloats(counts); err != nil {
			return nil, err
		}
		if g := f.Tensor(name + suffixGradients); g != nil {
			if s.Origin == nil || g.Type != quant.F32 || len(g.Dims) > 2 || g.Cols() != int64(len(s.Origin.Tokens)) {
				return nil, formats.Errorf(g.Offset, "tensor %s has the shape %v and the type %s, "+
					"expected an F32 for each token and part of the outputs", g.Name, g.Dims, g.Type)
			}
			if e.Parts = 1; len(g.Dims) == 2 {
				e.Parts = int(g.Dims[1])
			}
		}
		if e.Outputs, err = outputsOf(f, name); err != nil {
			return nil, err
		}
		s.Entries = append(s.Entries, e)
	}
	return s, nil
}

func (s *File) readOrigin(md *gguf.Metadata) error {
	weights, ok := md.Str(keyWeights)
	if !ok {
		return nil
	}
	o := &Origin{Weights: weights}
	o.Tokenizer, _ = md.Str(keyTokenizer)
	o.Texts, _ = md.Strings(keyTexts)
	o.Seed, _ = md.Uint(keySeed)
	o.Tokens, _ = md.Int32s(keyTokens)
	o.Lengths, _ = md.Int32s(keyLengths)
	if err := o.check(keyLengths, keyTokens); err != nil {
		return err
	}
	s.Origin = o
	return nil
}

// check refuses sequences that are not those of the tokens. An error calls both as given.
func (o *Origin) check(lengths, tokens string) error {
	total := int64(0)
	for i, n := range o.Lengths {
		if n < 1 {
			return formats.Errorf(-1, "%s: sequence %d has %d tokens, expected at least 1", lengths, i, n)
		}
		total += int64(n)
	}
	if total != int64(len(o.Tokens)) {
		return formats.Errorf(-1, "%s has %d tokens, %s says %d", tokens, len(o.Tokens), lengths, total)
	}
	return nil
}

// readFloats reads a tensor of float32.
func readFloats(t *gguf.Tensor) ([]float32, error) {
	if t.Type != quant.F32 {
		return nil, formats.Errorf(t.Offset, "tensor %s is %s, expected F32", t.Name, t.Type)
	}
	raw := make([]byte, t.Size())
	if _, err := t.ReadAt(raw, 0); err != nil {
		return nil, formats.Wrapf(err, t.Offset, "reading tensor %s", t.Name)
	}
	return toFloats(raw), nil
}

func toFloats(raw []byte) []float32 {
	values := make([]float32, len(raw)/4)
	for i := range values {
		values[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return values
}

// Gradients gives what was gathered of the loss's gradients at the outputs of layers.
type Gradients interface {
	// Parts returns the number of parts of a layer's outputs.
	Parts(name string) int
	// Norms returns the squared gradients of all tokens, for each part of a layer's outputs.
	Norms(name string) ([][]float32, error)
	// Blocks returns the blocks of a layer's outputs for which there are sums of gradients' products, nil if there are
	// none.
	Blocks(name string) []int
	// Outputs returns how gradients go together, of an entry with Outputs.
	Outputs(name string) (*OutputMoments, error)
}

// Write writes a file, in the form that [IsDat] tells. gradients is asked for what the entries say that there is;
// the .dat form has none.
func (s *File) Write(path string, gradients Gradients) error {
	if err := s.check(); err != nil {
		return formats.WithPath(err, path)
	}
	if IsDat(path) {
		return s.writeDat(path)
	}
	md := new(gguf.Metadata)
	md.Set(keyType, typeImatrix)
	md.Set(keyDatasets, append([]string{}, s.Datasets...))
	md.Set(keyChunkCount, uint32(s.ChunkCount))
	md.Set(keyChunkSize, uint32(s.ChunkSize))
	if o := s.Origin; o != nil {
		md.Set(keyWeights, o.Weights)
		md.Set(keyTokenizer, o.Tokenizer)
		md.Set(keyTexts, append([]string{}, o.Texts...))
		md.Set(keySeed, o.Seed)
		md.Set(keyTokens, append([]int32{}, o.Tokens...))
		md.Set(keyLengths, append([]int32{}, o.Lengths...))
	}
	w, err := gguf.Create(path, md, s.tensorInfos(gradients), gguf.Options{})
	if err != nil {
		return err
	}
	defer w.Abort()
	at := 0
	put := func(values []float32) error {
		raw := make([]byte, 0, 4*len(values))
		for _, v := range values {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
		}
		at++
		return w.WriteTensorAt(at-1, raw, 0)
	}
	for i := range s.Entries {
		e := &s.Entries[i]
		if err := put(e.Sums); err != nil {
			return err
		}
		if err := put(e.Counts); err != nil {
			return err
		}
		if e.Parts > 0 {
			parts, err := gradients.Norms(e.Name)
			if err != nil {
				return err
			}
			if err := put(slices.Concat(parts...)); err != nil {
				return err
			}
		}
		if e.Outputs > 0 {
			m, err := gradients.Outputs(e.Name)
			if err != nil {
				return err
			}
			if err := put(m.Squares); err != nil {
				return err
			}
			raw := make([]byte, quant.F16.Size(int64(len(m.Pairs))))
			quant.F16.Quantize(raw, m.Pairs, len(m.Pairs), nil)
			if err := w.WriteTensorAt(at, raw, 0); err != nil {
				return err
			}
			at++
		}
	}
	return w.Close()
}

// tensorInfos lists the tensors of a file in the order of its entries.
func (s *File) tensorInfos(gradients Gradients) (infos []gguf.TensorInfo) {
	for i := range s.Entries {
		e := &s.Entries[i]
		n, cols := uint64(len(e.Counts)), uint64(len(e.Sums)/len(e.Counts))
		sums, counts := []uint64{cols}, []uint64{1}
		if n > 1 {
			sums, counts = append(sums, n), append(counts, n)
		}
		infos = append(infos,
			gguf.TensorInfo{Name: e.Name + suffixSums, Dims: sums},
			gguf.TensorInfo{Name: e.Name + suffixCounts, Dims: counts})
		if e.Parts > 0 {
			dims := []uint64{uint64(len(s.Origin.Tokens))}
			if e.Parts > 1 {
				dims = append(dims, uint64(e.Parts))
			}
			infos = append(infos, gguf.TensorInfo{Name: e.Name + suffixGradients, Dims: dims})
		}
		if e.Outputs > 0 {
			pairs := 0
			for _, n := range gradients.Blocks(e.Name) {
				pairs += n * (n - 1) / 2
			}
			infos = append(infos,
				gguf.TensorInfo{Name: e.Name + suffixOutputs, Dims: []uint64{uint64(e.Outputs)}},
				gguf.TensorInfo{Name: e.Name + suffixPairs, Dims: []uint64{uint64(pairs)}, Type: quant.F16})
		}
	}
	return infos
}
