package calib

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/runtime"
)

// Method is a way to choose a model's codes and scales.
type Method struct {
	Name  string
	Usage string // one line
	// Needs says what the method must know of the linear layers' inputs. If it needs anything, the types' own encoders
	// weigh errors in columns by mean squares.
	Needs Needs
	// Options are the options that the method takes of those of a recipe, by their names there.
	Options []string
	// Quantize makes blocks of the recipe's tensors, for [Quantize]. What it does not make is left to the types' own
	// encoders: all tensors if it is nil.
	Quantize func(
		ctx context.Context, l *runtime.Layers, s *stats.File, r *Recipe, opt QuantizeOptions,
	) (*Encoded, error)
}

// Needs is what a method must know of the inputs of linear layers. Each includes those before it.
type Needs int

// What methods need.
const (
	Nothing     Needs = iota
	MeanSquares       // of columns: statistics of calibrate or of llama-imatrix
	Tokens            // that the model is run on: statistics of calibrate
)

// methods is the table of methods.
var methods = []Method{
	{
		Name:  "rtn",
		Usage: "round to nearest: each type's own search for scales, without statistics",
	},
	{
		Name:  "imatrix",
		Usage: "the search weighted by an importance matrix, ours or llama.cpp's",
		Needs: MeanSquares,
	},
	{
		Name: "awq",
		Usage: "channels scaled before the weighted search, " +
			"the factors folded into norms and neighbouring matrices",
		Needs: Tokens, Options: []string{"split"}, Quantize: awq,
	},
	{
		Name: "gptq",
		Usage: "channels scaled, then error feedback and refinement " +
			"under the second moments of each layer's inputs, block after block",
		Needs:    Tokens,
		Options:  []string{"damp", "shrink", "refine", "asymmetric", "outputs", "awq", "split"},
		Quantize: gptq,
	},
}

// Methods lists every method.
func Methods() []Method { return methods }

// MethodByName finds a method.
func MethodByName(name string) (*Method, error) {
	names := make([]string, len(methods))
	for i := range methods {
		if methods[i].Name == name {
			return &methods[i], nil
		}
		names[i] = methods[i].Name
	}
	return nil, fmt.Errorf("unknown method %q; known: %s", name, strings.Join(names, " "))
}

// Takes reports whether the method takes an option of recipes, such as "damp".
func (m *Method) Takes(option string) bool { return slices.Contains(m.Options, option) }

// RunsModel reports whether the method runs the model, which takes memory and time.
func (m *Method) RunsModel() bool { return m.Quantize != nil }

// Check refuses statistics that lack what the method needs; nil stands for none.
func (m *Method) Check(s *stats.File) error {
	switch {
	case m.Needs >= MeanSquares && s == nil:
		return formats.Errorf(-1, "the method %s needs statistics", m.Name)
	case m.Needs >= Tokens && s.Origin == nil:
		return formats.FileErrorf(s.Path, -1, "it does not hold the tokens that it was made from, as files of "+
			"llama-imatrix do not: --method %s runs the model on them; make it with phi3conv calibrate", m.Name)
	}
	return nil
}
