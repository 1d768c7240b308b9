package lint

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/convert"
	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/phi3conv/phi3conv/internal/vocab"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/quant/policy"
)

// unsupported returns the names of the architecture, and their key, if it is one
// that is not known here.
func unsupported(m *model) (key string, names []string) {
	if m.configErr == nil {
		return "", nil
	}
	if m.isGGUF {
		key = "general.architecture"
		if s, ok := m.md.Str(key); ok {
			names = []string{s}
		}
	} else {
		key = "architectures"
		var c struct{ Architectures []string }
		if f, err := os.Open(filepath.Join(m.path, "config.json")); err == nil {
			_ = json.NewDecoder(io.LimitReader(f, arch.MaxConfig)).Decode(&c) // else configErr says what is wrong
			_ = f.Close()
		}
		names = c.Architectures
	}
	if slices.ContainsFunc(arch.Archs, func(a *arch.Arch) bool {
		return slices.ContainsFunc(names, func(name string) bool { return name == a.Name || a.Has(name) })
	}) {
		names = nil
	}
	return key, names
}

func unsupportedArchitecture(m *model, report reportFunc) {
	if key, names := unsupported(m); len(names) > 0 {
		report(key, "%s; supported: %s", strings.Join(names, ", "), arch.Supported())
	}
}

func invalidConfig(m *model, report reportFunc) {
	if _, names := unsupported(m); m.configErr == nil || len(names) > 0 {
		return
	}
	subject := "config.json"
	if m.isGGUF {
		subject = "metadata"
	}
	report(subject, "%s", errorWhat(m.configErr))
}

// leftOut reports what would be assumed in running the model.
func leftOut(m *model, report reportFunc) {
	var assumed []string
	if c, err := source.GGUFConfig(m.file.GGUF); err == nil {
		assumed = c.Assumed
	}
	if v, err := vocab.FromMetadata(m.md.Get); err == nil {
		assumed = append(assumed, v.Assumed...)
	}
	for _, a := range assumed {
		report("metadata", "assumed: %s", a)
	}
}

func quantizationVersion(m *model, report reportFunc) {
	i := slices.IndexFunc(m.file.GGUF.Tensors, func(t *gguf.Tensor) bool { return t.Type.IsQuantized() })
	if i < 0 {
		return
	}
	const key = "general.quantization_version"
	t := m.file.GGUF.Tensors[i]
	switch v, ok := m.md.Get(key); {
	case !ok:
		report(key, "missing, but tensor %s is %s", t.Name, t.Type)
	case fmt.Sprint(v) != "2":
		report(key, "%v, expected 2, the only version in use", v)
	}
}

// fileType compares the tensors with what the recipe of general.file_type gives.
func fileType(m *model, report reportFunc) {
	const key = "general.file_type"
	n, ok := m.md.Uint(key)
	if !ok {
		return
	}
	ft, ok := policy.FileTypeByGGUF(n)
	if !ok {
		return // a recipe of types that are only read here, or 1024: guessed
	}
	types := policy.Policy{FileType: ft}
	var total, fit int64
	byType := make(map[quant.Type]int64)
	for i := range m.file.Tensors {
		t := &m.file.Tensors[i]
		if len(t.Shape) < 2 {
			continue
		}
		want := types.Type(convert.PolicyTensor(m.config, t.Name, t.Block, t.Shape))
		total += t.Elems
		byType[t.Block] += t.Elems
		if t.Block == want {
			fit += t.Elems
		}
	}
	if fit >= total-fit {
		return
	}
	most := quant.F32
	for _, t := range quant.ReadTypes() {
		if byType[t] > byType[most] {
			most = t
		}
	}
	report(key, "%d (%s), but most weights are %s: %.0f %% of them have the type that %s gives",
		n, ft, most, 100*float64(fit)/float64(total), ft)
}

// longContext is the context from which on a Phi model without LongRoPE cannot be right.
const longContext = 131072

// needsLongRope reports whether the configuration says that the context was extended.
func needsLongRope(c *arch.Config) bool {
	return c.Context > c.OriginalContext || c.Context >= longContext
}

func longRopeFactors(m *model, report reportFunc) {
	c := m.config
	var why string
	switch {
	case needsLongRope(c):
		why = fmt.Sprintf("%s is %d and %s %d", m.key("context_length"), c.Context,
			m.key("rope.scaling.original_context_length"), c.OriginalContext)
	case len(m.factors) > 0:
		why = "the other one is there"
	case c.LongRope != nil:
		why = m.key("rope.scaling.attn_factor") + " is there"
	default:
		return
	}
	for _, name := range factorNames {
		if m.file.Tensor(name) == nil {
			report(name, "missing, though %s", why)
		}
	}
}

func longRopeConfig(m *model, report reportFunc) {
	if c := m.config; needsLongRope(c) && c.LongRope == nil {
		report("config.json", "max_position_embeddings is %d and original_max_position_embeddings %d, "+
			"but there are no factors", c.Context, c.OriginalContext)
	}
}

// attnFactor returns the attention factor of the published models.
func attnFactor(c *arch.Config) float64 {
	if c.Context <= c.OriginalContext || c.OriginalContext < 2 {
		return 1
	}
	return math.Sqrt(1 + math.Log(float64(c.Context)/float64(c.OriginalContext))/math.Log(float64(c.OriginalContext)))
}

func attnFactorMissing(m *model, report reportFunc) {
	key := m.key("rope.scaling.attn_factor")
	if !m.hasKey(key) && m.config.Context > m.config.OriginalContext {
		report(key, "missing, expected %.6f", attnFactor(m.config))
	}
}

func attnFactorValue(m *model, report reportFunc) {
	key := m.key("rope.scaling.attn_factor")
	ofFormula := m.config.Arch.Name == "phi3" // the configurations of the others have numbers of their own
	if v, ok := m.md.Float(key); ok && ofFormula && math.Abs(v-attnFactor(m.config)) > 1e-4 {
		report(key, "%.6f, expected %.6f", v, attnFactor(m.config))
	}
}

func factorCount(m *model, report reportFunc) {
	for _, name := range factorNames {
		if x, ok := m.factors[name]; ok && 2*len(x) != m.config.RotaryDims {
			report(name, "%d factors, but %s is %d, which needs %d", len(x), m.key("rope.dimension_count"),
				m.config.RotaryDims, m.config.RotaryDims/2)
		}
	}
}

func partialRotary(m *model, report reportFunc) {
	if c := m.config; c.Arch.Name != "phi2" && c.RotaryDims < c.HeadDim && len(m.factors) == 0 {
		report(m.key("rope.dimension_count"), "%d, but the head has %d dimensions", c.RotaryDims, c.HeadDim)
	}
}

func originalContext(m *model, report reportFunc) {
	key := m.key("rope.scaling.original_context_length")
	if !m.hasKey(key) && len(m.factors) > 0 {
		report(key, "missing, though there are LongRoPE factors; %s is %d", m.key("context_length"), m.config.Context)
	}
}

func slidingWindow(m *model, report reportFunc) {
	c := m.config
	subject, window := "config.json", c.SlidingWindow
	if m.isGGUF {
		subject = m.key("attention.sliding_window")
		if !m.hasKey(subject) {
			window = 0 // not what is assumed
		}
	}
	if c.Context != 4096 || c.OriginalContext != 4096 || c.VocabSize != 32064 || window > 0 {
		return
	}
	models := "Phi-3-mini-4k or Phi-3-medium-4k"
	if c.Experts != nil {
		models = "Phi-mini-MoE or Phi-tiny-MoE"
	}
	report(subject, "missing or 0 in a model with the context and the vocabulary of %s", models)
}

func factorValues(m *model, report reportFunc) {
	for _, name := range factorNames {
		for i, v := range m.factors[name] {
			if !(v > 0 && v <= math.MaxFloat32) {
				report(name, "factor %d is %g", i, v)
				break
			}
		}
	}
}

func contradictions(m *model, report reportFunc) {
	for _, what := range m.config.Resolved {
		report("config.json", "%s", what)
	}
}

// convertedFactor looks for what llama.cpp's converter writes in place of a PhiMoE's own factors.
func convertedFactor(m *model, report reportFunc) {
	c, key := m.config, m.key("rope.scaling.attn_factor")
	v, ok := m.md.Float(key)
	if ok && c.Experts != nil && !m.hasKey(m.key("router_jitter_noise")) && math.Abs(v-attnFactor(c)) < 1e-4 {
		report(key, "%.6f, as the formula has it; Phi-3.5-MoE's config.json says 1.243163", v)
	}
}

// hasKey reports whether the file has the key.
func (m *model) hasKey(key string) bool {
	_, ok := m.md.Get(key)
	return ok
}

// notInLlama says why llama.cpp does not load a file that is in order.
func notInLlama(m *model, report reportFunc) {
	c := m.config
	switch {
	case c.Arch.Name == "phi3small":
		report("general.architecture", "llama.cpp has no phi3small")
	case c.Arch.Name == "phi3":
	case c.Tied:
		report(arch.Output, "missing; of a %s llama.cpp demands it", c.Arch.Name)
	case c.HeadDim*c.Heads != c.Hidden:
		report(m.key("attention.key_length"), "%d heads of %d are not the width of %d, which llama.cpp demands",
			c.Heads, c.HeadDim, c.Hidden)
	}
}
