package calib

import (
	"fmt"
	"strings"
)

// Method is a way to choose a model's codes and scales.
type Method struct {
	Name  string
	Usage string // one line
	// Importance: the types' own encoders weigh errors by the statistics' mean squares.
	Importance bool
	// Sequential: the linear layers are solved one block of the model after the other, see
	// [Quantize]. Other tensors are encoded as without.
	Sequential bool
	// Scaled: channels are scaled first, and each layer is left to its type's own encoder.
	Scaled bool
}

// Solves tells whether the method takes the options of [Solve], and of scaling channels before it.
func (m *Method) Solves() bool { return m.Sequential && !m.Scaled }

// methods is the table of methods.
var methods = []Method{
	{"rtn", "round to nearest: each type's own search for scales, without statistics", false, false, false},
	{"imatrix", "the search weighted by an importance matrix, ours or llama.cpp's", true, false, false},
	{"awq", "channels scaled before the weighted search, the factors folded into norms and neighbouring matrices", true, true, true},
	{"gptq", "channels scaled, then error feedback and refinement under the second moments of each layer's inputs, block after block", true, true, false},
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
