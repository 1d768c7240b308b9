package runtime

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/formats/pmap"
	"github.com/phi3conv/phi3conv/formats/safetensors"
	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/internal/linear"
	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/quant/policy"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
	"github.com/phi3conv/phi3conv/testdata"
	"github.com/x448/float16"
)

// convertTo writes model as a GGUF file of one type, without a tokenizer, and returns its path. Given types of
// parts, it writes q, k and v apart.
func convertTo(t testing.TB, model string, ft policy.FileType, parts ...quant.Type) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "model.gguf")
	convertFile(t, model, ft, out, gguf.Options{}, parts...)
	return out
}

func convertFile(t testing.TB, model string, ft policy.FileType, out string, opt gguf.Options, parts ...quant.Type) {
	t.Helper()
	types := policy.Policy{FileType: ft, Pure: true}
	writeModel(t, model, out, opt, parts, func(st *source.Tensor) quant.Type {
		return types.Type(policy.Tensor{Name: st.GGUF, Source: st.Type, Cols: st.Cols(), Matrix: len(st.Shape) == 2})
	}, func(typ quant.Type, enc []byte, values []float32, cols int) { typ.Quantize(enc, values, cols, nil) })
}

// writeModel writes a GGUF file whose tensors have the types that typeOf gives, in blocks that encode makes. Given
// types of parts, q, k and v are apart.
func writeModel(
	t testing.TB, model, out string, opt gguf.Options, parts []quant.Type, typeOf func(st *source.Tensor) quant.Type,
	encode func(typ quant.Type, enc []byte, values []float32, cols int),
) {
	t.Helper()
	m, err := source.Open(model)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	md := new(gguf.Metadata)
	md.Set("general.architecture", m.Config.Arch.Name)
	for _, kv := range m.Config.Metadata() {
		md.Set(kv.Key, kv.Value)
	}
	var infos []gguf.TensorInfo
	var tensors []source.Tensor
	add := func(st source.Tensor, typ quant.Type) {
		dims := slices.Clone(st.Shape)
		slices.Reverse(dims)
		infos, tensors = append(infos, gguf.TensorInfo{Name: st.GGUF, Type: typ, Dims: dims}), append(tensors, st)
	}
	for _, st := range m.Tensors {
		if pieces := st.Pieces(); pieces != nil && parts != nil {
			for i, p := range pieces {
				add(p, parts[i])
			}
			continue
		}
		add(st, typeOf(&st))
	}
	w, err := gguf.Create(out, md, infos, opt)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for i := range tensors {
		st, typ := &tensors[i], infos[i].Type
		row := typ.Size(int64(st.Cols()))
		err := st.EachRows(func(first int, values []float32) error {
			enc := make([]byte, typ.Size(int64(len(values))))
			encode(typ, enc, values, st.Cols())
			return w.WriteTensorAt(i, enc, int64(first)*row)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// pmapOf copies a GGUF file as a .pmap file and returns its path.
func pmapOf(t testing.TB, path string) string {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	infos := make([]pmap.TensorInfo, len(f.Tensors))
	for i, tensor := range f.Tensors {
		infos[i].TensorInfo = tensor.TensorInfo
		if len(tensor.Dims) > 1 && tensor.Name != arch.Embedding && pmap.HasPanels(tensor.Type) { // as convert does
			infos[i].Layout = pmap.Panels
		}
	}
	out := filepath.Join(t.TempDir(), "model.pmap")
	w, err := pmap.Create(out, f.Metadata, infos)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for i, tensor := range f.Tensors {
		data := make([]byte, tensor.Size())
		if _, err = tensor.ReadAt(data, 0); err == nil {
			err = w.WriteRows(i, 0, data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(2); err != nil {
		t.Fatal(err)
	}
	return out
}

// evalTokens returns the tokens of a text that the tiny model was not trained on.
func evalTokens(t testing.TB, dir string, o tokenizer.EncodeOptions) []int32 {
	t.Helper()
	tok, err := tokenizer.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join("..", "testdata", "tiny-phi3-eval.txt"))
	if err != nil {
		t.Fatal(err)
	}
	return tok.Encode(string(text), o)
}

// Each type: in float32 mode a file has the very logits of the weights that it stands
// for; the fast mode is near them, with the same bits from every set, thread count, split and way of loading.
func TestTypes(t *testing.T) {
	dir := testmodel.Phi3(t)
	tokens := evalTokens(t, dir, tokenizer.EncodeOptions{AddSpecial: true})[:48]
	defer func() { _ = kern.SelectFromEnv() }()
	mixed := []quant.Type{quant.Q6_K, quant.Q4_0, quant.F16} // inputs are encoded in three ways
	var types []policy.FileType                              // the first of each type
	for _, ft := range policy.FileTypes() {
		if !slices.ContainsFunc(types, func(other policy.FileType) bool { return other.Type() == ft.Type() }) {
			types = append(types, ft)
		}
	}
	if testing.Short() {
		types, tokens = []policy.FileType{
			policy.MostlyF16, policy.MostlyQ5_0, policy.MostlyQ8_0, policy.MostlyQ4_K_S, policy.MostlyQ6_K,
		}, tokens[:16]
	}
	for i := range len(types) + 1 {
		ft, name, parts := policy.MostlyQ4_K_S, "parts", mixed
		if i < len(types) {
			ft, name, parts = types[i], types[i].String(), nil
		}
		t.Run(name, func(t *testing.T) {
			limit := 0.004
			if ft.Type().BitsPerWeight() < 2.5 { // what is left of the tiny model is mostly noise
				limit = 0.05
			}
			checkModes(t, convertTo(t, dir, ft, parts...), ft.Type(), limit, tokens)
		})
	}
}

// Files of types that are only read, with random blocks, do the same.
func TestReadOnlyTypes(t *testing.T) {
	dir := testmodel.Phi3(t)
	tokens := evalTokens(t, dir, tokenizer.EncodeOptions{AddSpecial: true})[:8]
	defer func() { _ = kern.SelectFromEnv() }()
	for _, typ := range quant.ReadTypes() {
		if typ.CanWrite() {
			continue
		}
		t.Run(typ.String(), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "model.gguf")
			writeRandom(t, dir, typ, path)
			checkModes(t, path, typ, 0.05, tokens)
		})
	}
}

// writeRandom writes a model whose matrices are random blocks of a type, but for embedding and output matrix.
func writeRandom(t *testing.T, dir string, typ quant.Type, out string) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, uint64(typ)))
	writeModel(t, dir, out, gguf.Options{}, nil, func(st *source.Tensor) quant.Type {
		if len(st.Shape) == 2 && st.GGUF != arch.Embedding && st.GGUF != arch.Output {
			return typ
		}
		return quant.F32
	}, func(typ quant.Type, enc []byte, values []float32, cols int) {
		if typ.CanWrite() {
			typ.Quantize(enc, values, cols, nil)
			return
		}
		for i := range enc {
			enc[i] = byte(r.Uint32())
		}
		block := make([]float32, typ.BlockLen())
		for ; len(enc) > 0; enc = enc[typ.BlockBytes():] {
			b := enc[:typ.BlockBytes()]
			for _, at := range typ.ScaleOffsets() {
				binary.LittleEndian.PutUint16(b[at:], 0x3c00) // 1
			}
			switch typ {
			case quant.IQ1_M:
				for i, nibble := range []byte{0, 0, 0, 2} { // 2⁻⁷
					b[49+2*i] = b[49+2*i]&15 | nibble<<4
				}
			case quant.MXFP4:
				b[0] = 120 + b[0]&3
			case quant.NVFP4:
				for i := range 4 {
					b[i] = 0x10 | b[i]&7
				}
			default: // values up to 0.1
				typ.Dequantize(block, b)
				d := float16.Fromfloat32(0.1 / max(slices.Max(block), -slices.Min(block)))
				binary.LittleEndian.PutUint16(b[typ.ScaleOffsets()[0]:], d.Bits())
			}
		}
	})
}

// checkModes compares the ways in which a file of a type is evaluated: in float32 mode it has the very logits of the
// decoded weights, in the others logits near to them, with the same bits from all.
func checkModes(t *testing.T, path string, typ quant.Type, limit float64, tokens []int32) {
	t.Helper()
	if err := kern.SelectFromEnv(); err != nil {
		t.Fatal(err)
	}
	exact := Options{Float32: true, Cache: CacheF32}
	want := allLogits(t, sequence(t, open(t, convertTo(t, path, policy.AllF32), exact)), tokens)
	got := allLogits(t, sequence(t, open(t, path, exact)), tokens)
	sameLogits(t, got, want, "float32 mode, compared with the decoded weights")
	mapped := pmapOf(t, path)
	var first [][]float32
	for _, set := range kern.Sets() {
		if set.Name == "generic" && len(kern.Sets()) > 1 && !typ.IsQuantized() {
			continue // TestSameBits has it
		}
		if err := kern.Select(set.Name); err != nil {
			t.Fatal(err)
		}
		for i, opt := range []Options{
			{Threads: 1}, {Threads: 2, Batch: 23, NoRepack: true}, {Threads: 2, Batch: 7},
		} {
			path := path
			if i == 2 {
				path = mapped
			}
			got := allLogits(t, sequence(t, open(t, path, opt)), tokens)
			mean := 0.0
			for i := range want {
				mean += nmse(got[i], want[i]) / float64(len(want))
			}
			if mean > limit {
				t.Errorf("%s: mean NMSE %.2g from rounded activations", set.Name, mean)
			}
			if typ == quant.BF16 || typ == quant.MXFP4 || typ == quant.NVFP4 {
				continue // where the CPU multiplies bfloat16, its own rounding counts
			}
			if first == nil {
				first = got
			}
			sameLogits(t, got, first, fmt.Sprintf("%s %+v", set.Name, opt))
		}
	}
}

// sameLogits compares bits.
func sameLogits(t *testing.T, got, want [][]float32, what string) {
	t.Helper()
	for i := range want {
		if !slices.Equal(got[i], want[i]) {
			t.Fatalf("%s: other bits at position %d: NMSE %.2g", what, i, nmse(got[i], want[i]))
		}
	}
}

// A file with q, k and v apart has the bits of one where they are one tensor, in every mode; their rows
// need not fill panels.
func TestParts(t *testing.T) {
	dirs := []string{testmodel.Phi3(t)}
	for _, v := range testdata.Variants() {
		if v.Name == "odd" {
			dirs = append(dirs, t.TempDir())
			if err := v.Write(dirs[1]); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, dir := range dirs {
		for _, ft := range []policy.FileType{policy.AllF32, policy.MostlyQ8_0} {
			typ := ft.Type()
			if len(dirs) > 1 && dir == dirs[1] {
				ft, typ = policy.MostlyF16, quant.F16 // no block divides its rows
			}
			whole, apart := convertTo(t, dir, ft), convertTo(t, dir, ft, typ, typ, typ)
			for _, opt := range []Options{
				{Threads: 1}, {Threads: 2, Batch: 5}, {Threads: 2, NoRepack: true}, {Float32: true, Cache: CacheF32},
			} {
				m := open(t, apart, opt)
				tokens := counting(11, m.VocabSize())
				want := allLogits(t, sequence(t, open(t, whole, opt)), tokens)
				got := allLogits(t, sequence(t, m), tokens)
				for i := range want {
					if !slices.Equal(got[i], want[i]) {
						t.Fatalf("%s as %s, %+v: other bits at position %d: NMSE %.2g",
							dir, ft, opt, i, nmse(got[i], want[i]))
					}
				}
			}
			if _, err := OpenLayers(apart, Options{}); err == nil ||
				!strings.Contains(err.Error(), "blk.0.attn_qkv.weight in parts") {
				t.Errorf("OpenLayers: %v", err)
			}
		}
	}
	// One of them alone, or beside the whole, is no model.
	path := convertTo(t, dirs[0], policy.AllF32, quant.F32, quant.F32, quant.F32)
	if _, err := Open(
		t.Context(), edit(t, path, nil, func(name string, _ []byte) bool { return name == "blk.2.attn_k.weight" }),
		Options{},
	); err == nil || !strings.Contains(err.Error(), "missing: blk.2.attn_k.weight") {
		t.Errorf("without k: %v", err)
	}
}

// edit changes a copy of a GGUF file's metadata and tensor bytes.
func edit(
	t *testing.T, path string, metadata func(*gguf.Metadata), tensor func(name string, data []byte) (drop bool),
) string {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	md := f.Metadata.Clone()
	if metadata != nil {
		metadata(md)
	}
	var infos []gguf.TensorInfo
	var data [][]byte
	for _, ts := range f.Tensors {
		b := make([]byte, ts.Size())
		if _, err := io.ReadFull(io.NewSectionReader(ts.Source(), ts.Offset, ts.Size()), b); err != nil {
			t.Fatal(err)
		}
		if tensor == nil || !tensor(ts.Name, b) {
			infos, data = append(infos, ts.TensorInfo), append(data, b)
		}
	}
	out := filepath.Join(t.TempDir(), "edited.gguf")
	w, err := gguf.Create(out, md, infos, gguf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for i, b := range data {
		if err := w.WriteTensorAt(i, b, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out
}

// Files of valid structure with hostile contents are refused, when opened or at the first evaluation.
func TestHostileFiles(t *testing.T) {
	path := convertTo(t, testmodel.Phi3(t), policy.MostlyQ4_K_S)
	set := func(key string, v any) func(*gguf.Metadata) {
		return func(md *gguf.Metadata) { md.Set("phi3."+key, v) }
	}
	put := func(name string, off int, b ...byte) func(string, []byte) bool {
		return func(n string, data []byte) bool {
			if n == name {
				copy(data[off:], b)
			}
			return false
		}
	}
	for _, c := range []struct {
		name     string
		metadata func(*gguf.Metadata)
		tensor   func(string, []byte) bool
		want     string
	}{
		{"no heads", set("attention.head_count", uint32(0)), nil, "head_count"},
		{"no key heads", set("attention.head_count_kv", uint32(0)), nil, "head_count_kv"},
		{"too many key heads", set("attention.head_count_kv", uint32(3)), nil, "do not divide"},
		{"no layers", set("block_count", uint32(0)), nil, "block_count"},
		{"more layers than there are", set("block_count", uint32(4096)), nil, "missing"},
		{"huge context", set("context_length", uint32(1<<31)), nil, "context_length"},
		{"odd rope", set("rope.dimension_count", uint32(7)), nil, "rotary"},
		{"rope beyond the head", set("rope.dimension_count", uint32(128)), nil, "dimension_count"},
		{"negative eps", set("attention.layer_norm_rms_epsilon", float32(-1)), nil, "epsilon"},
		{"missing tensor", nil, func(n string, _ []byte) bool { return n == "blk.1.ffn_up.weight" }, "missing"},
		{"infinite scale", nil, put("blk.2.attn_qkv.weight", 144*5, 0, 0x7c), "scale"},
		{"scale that is not a number", nil, put("blk.2.attn_qkv.weight", 144*5+2, 1, 0xfe), "scale"},
		{"norm that is not a number", nil, put("blk.0.attn_norm.weight", 0, 0, 0, 0xc0, 0x7f), "not finite"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := Open(t.Context(), edit(t, path, c.metadata, c.tensor), Options{})
			if err == nil {
				defer func() { _ = m.Close() }()
				_, err = sequence(t, m).Eval(context.Background(), []int32{1, 2, 3})
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, expected one with %q", err, c.want)
			}
		})
	}
}

// A context that memory cannot hold is refused before anything is allocated.
func TestHugeCache(t *testing.T) {
	path := edit(
		t, convertTo(t, testmodel.Phi3(t), policy.MostlyQ8_0),
		func(md *gguf.Metadata) { md.Set("phi3.context_length", uint32(1<<30)) }, nil,
	)
	m := open(t, path, Options{})
	if _, err := m.NewSequence(1 << 30); err == nil || !strings.Contains(err.Error(), "available") {
		t.Errorf("error %v, expected one that says how much is available", err)
	}
	if _, err := m.NewSequence(0); err != nil {
		t.Error(err)
	}
}

// A file that shrinks while it is mapped ends in an error.
func TestTruncatedWhileMapped(t *testing.T) {
	if goruntime.GOOS == "windows" {
		t.Skip("a mapped file cannot be truncated there")
	}
	path := convertTo(t, testmodel.Phi3(t), policy.MostlyQ8_0)
	for threads, path := range []string{path, path, pmapOf(t, path)} {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		cut := filepath.Join(t.TempDir(), "cut.gguf")
		if err := os.WriteFile(cut, data, 0o644); err != nil {
			t.Fatal(err)
		}
		m := open(t, cut, Options{Threads: 1 + threads, NoRepack: true})
		s := sequence(t, m)
		if _, err := s.Eval(context.Background(), []int32{1}); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(cut, int64(len(data)/4)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Eval(context.Background(), []int32{2}); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("error %v, expected an unexpected end of file", err)
		}
		// Once the file is whole again, nothing is left of the error.
		if err := os.WriteFile(cut, data, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Eval(context.Background(), []int32{2}); err != nil {
			t.Error(err)
		}
	}
}

// rewrite copies a checkpoint in one file: with values of another type, F32 or F64, in as many
// files as parts says.
func rewrite(t *testing.T, dir string, dtype safetensors.DType, parts int) string {
	t.Helper()
	f, err := safetensors.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	out := t.TempDir()
	write := func(name string, data []byte) {
		if err := os.WriteFile(filepath.Join(out, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	config, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	write("config.json", config)
	files := map[string]string{}
	for part := range parts {
		name := "model.safetensors"
		if parts > 1 {
			name = fmt.Sprintf("model-%05d-of-%05d.safetensors", part+1, parts)
		}
		header, data := map[string]any{}, []byte(nil)
		for i, ts := range f.Tensors {
			if i%parts != part {
				continue
			}
			values := make([]float32, ts.Elems())
			if err := ts.ReadFloat32(values, 0); err != nil {
				t.Fatal(err)
			}
			begin := len(data)
			for _, v := range values {
				if dtype == safetensors.F64 {
					data = binary.LittleEndian.AppendUint64(data, math.Float64bits(float64(v)))
				} else {
					data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
				}
			}
			header[ts.Name] = map[string]any{
				"dtype": dtype.String(), "shape": ts.Shape, "data_offsets": []int{begin, len(data)},
			}
			files[ts.Name] = name
		}
		text, err := json.Marshal(header)
		if err != nil {
			t.Fatal(err)
		}
		write(name, slices.Concat(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text, data))
	}
	if parts > 1 {
		index, err := json.Marshal(map[string]any{"metadata": map[string]any{}, "weight_map": files})
		if err != nil {
			t.Fatal(err)
		}
		write("model.safetensors.index.json", index)
	}
	return out
}

// However a model's weights are stored, in which type that holds them, in one file or several, mapped or
// not, its logits are the same bits; of odd numbers of columns too.
func TestFiles(t *testing.T) {
	odd := func(dtype string) string {
		return writeVariant(t, testdata.Variant{Name: "odd columns", DType: dtype, Config: []byte(`{
			"architectures": ["Phi3ForCausalLM"], "vocab_size": 33, "hidden_size": 45, "intermediate_size": 37,
			"num_hidden_layers": 2, "num_attention_heads": 3, "num_key_value_heads": 1,
			"max_position_embeddings": 64, "rms_norm_eps": 1e-5, "partial_rotary_factor": 0.8}`)})
	}
	tiny := testmodel.Phi3(t)
	for _, dir := range []string{odd("BF16"), odd("F16"), odd("F32"), tiny} {
		var want [][]float32
		check := func(name, path string, opt Options) {
			t.Helper()
			opt.Float32, opt.Cache = true, CacheF32
			m := open(t, path, opt)
			got := allLogits(t, sequence(t, m), counting(20, m.VocabSize()))
			if want == nil {
				want = got
			}
			for i := range want {
				if !slices.Equal(got[i], want[i]) {
					t.Fatalf("%s %+v: other bits at position %d: NMSE %.2g", name, opt, i, nmse(got[i], want[i]))
				}
			}
		}
		check("as it is", dir, Options{})
		check("as it is", dir, Options{NoRepack: true})
		check("F32", rewrite(t, dir, safetensors.F32, 1), Options{})
		check("F64", rewrite(t, dir, safetensors.F64, 1), Options{})
		check("three files", rewrite(t, dir, safetensors.F32, 3), Options{NoRepack: true})
	}
	m, err := Open(t.Context(), rewrite(t, tiny, safetensors.F64, 1), Options{NoRepack: true})
	if m != nil || err == nil || !strings.Contains(err.Error(), "is F64, which cannot be used in place") {
		t.Errorf("error %v", err)
	}

	out := t.TempDir()
	convertFile(t, tiny, policy.MostlyQ4_K_S, filepath.Join(out, "split.gguf"), gguf.Options{SplitMaxSize: 1 << 18})
	parts, err := filepath.Glob(filepath.Join(out, "*.gguf"))
	if err != nil || len(parts) < 3 {
		t.Fatalf("%q, %v", parts, err)
	}
	whole := convertTo(t, tiny, policy.MostlyQ4_K_S)
	tokens := counting(20, 576)
	for _, mapped := range []bool{false, true} {
		want := allLogits(t, sequence(t, open(t, whole, Options{NoRepack: mapped})), tokens)
		got := allLogits(t, sequence(t, open(t, parts[1], Options{NoRepack: mapped})), tokens)
		for i := range want {
			if !slices.Equal(got[i], want[i]) {
				t.Fatalf("split file, NoRepack %v: other bits at position %d", mapped, i)
			}
		}
	}
}

// Panels hold what the file holds.
func TestRepack(t *testing.T) {
	path := convertTo(t, testmodel.Phi3(t), policy.MostlyQ6_K)
	m := open(t, path, Options{Threads: 2})
	mapped := open(t, path, Options{Threads: 1, NoRepack: true})
	w := &linear.Scratch{}
	for i := range m.layers {
		a, b := m.layers[i].qkv[0], mapped.layers[i].qkv[0]
		for p := range a.Panels {
			if !slices.Equal(a.Panel(w, p, 1), b.Panel(w, p, 1)) {
				t.Fatalf("layer %d, panel %d differs", i, p)
			}
		}
	}
}
