package calib

import (
	"bytes"
	"io"
	"os"

	"github.com/phi3conv/phi3conv/calib/solve"
	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/quant/policy"
	"go.yaml.in/yaml/v3"
)

// Recipe says how a model is quantized: each tensor's type, and how codes and scales are chosen. With the
// model and the statistics it determines the output. docs/recipes.md describes its YAML form.
type Recipe struct {
	// FileType is what general.file_type says. Matrices that are not in Tensors get the types that it gives them.
	FileType policy.FileType
	Method   *Method
	// Solve is for methods that take its options. Threads are no part of a recipe.
	Solve solve.Options
	// Split weighs tokens for the parts of a layer's outputs (q, k and v; gate and up) each by its own gradients.
	Split bool
	// AWQ scales channels first. A method that always does so does not take it.
	AWQ     bool
	Tensors []quant.Target
}

// Scales reports whether channels are scaled first.
func (r *Recipe) Scales() bool { return r.AWQ || r.Method.RunsModel() && !r.Method.Takes("awq") }

// recipeVersion is that of the YAML form.
const recipeVersion = 1

// recipeYAML is the YAML form.
type recipeYAML struct {
	Recipe     int       `yaml:"recipe"`
	FileType   string    `yaml:"file-type"`
	Method     string    `yaml:"method"`
	Damp       []float64 `yaml:"damp,omitempty,flow"`
	Shrink     *float64  `yaml:"shrink,omitempty"`
	Refine     *int      `yaml:"refine,omitempty"`
	Asymmetric *float64  `yaml:"asymmetric,omitempty"`
	Outputs    *float64  `yaml:"outputs,omitempty"`
	AWQ        *bool     `yaml:"awq,omitempty"`
	Split      *bool     `yaml:"split,omitempty"`
	Tensors    yaml.Node `yaml:"tensors"` // a mapping, in order
}

// maxRecipe is more than a recipe of any model takes.
const maxRecipe = 4 << 20

// ReadRecipe reads a YAML file.
func ReadRecipe(path string) (*Recipe, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxRecipe+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxRecipe {
		return nil, formats.FileErrorf(path, -1, "more than %d bytes, expected a recipe", maxRecipe)
	}
	r, err := ParseRecipe(data)
	return r, formats.WithPath(err, path)
}

// ParseRecipe reads a recipe's YAML, in the long or the compact form. Unknown fields are refused.
func ParseRecipe(data []byte) (*Recipe, error) {
	var y recipeYAML
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(&y); err != nil {
		if err == io.EOF {
			return nil, formats.Errorf(-1, "no recipe, expected \"recipe: %d\" and more", recipeVersion)
		}
		return nil, formats.Wrapf(err, -1, "")
	}
	if err := d.Decode(new(yaml.Node)); err != io.EOF {
		return nil, formats.Errorf(-1, "more than one YAML document, expected one recipe")
	}
	if y.Recipe != recipeVersion {
		return nil, formats.Errorf(-1, `"recipe" is %d, expected %d, the version of the form`, y.Recipe, recipeVersion)
	}
	r := &Recipe{Solve: solve.DefaultOptions()}
	var err error
	if r.FileType, err = policy.FileTypeByName(y.FileType); err != nil {
		return nil, formats.Wrapf(err, -1, "file-type")
	}
	if r.Method, err = MethodByName(y.Method); err != nil {
		return nil, formats.Wrapf(err, -1, "method")
	}
	for _, option := range []struct {
		name  string
		given bool
	}{
		{"damp", y.Damp != nil}, {"shrink", y.Shrink != nil}, {"refine", y.Refine != nil},
		{"asymmetric", y.Asymmetric != nil}, {"outputs", y.Outputs != nil},
		{"awq", y.AWQ != nil}, {"split", y.Split != nil},
	} {
		if option.given && !r.Method.Takes(option.name) {
			return nil, formats.Errorf(-1, "%q is not for the method %s", option.name, y.Method)
		}
	}
	r.AWQ = r.Method.Takes("awq")
	if y.Damp != nil {
		r.Solve.Damp = y.Damp
	}
	set(&r.Solve.Shrink, y.Shrink)
	set(&r.Solve.Sweeps, y.Refine)
	set(&r.Solve.Asymmetric, y.Asymmetric)
	set(&r.Solve.Outputs, y.Outputs)
	set(&r.Split, y.Split)
	set(&r.AWQ, y.AWQ)
	if err := r.Solve.Check(); err != nil {
		return nil, formats.Wrapf(err, -1, "")
	}
	return r, r.readTensors(&y.Tensors)
}

// set sets *dst unless src is nil.
func set[T any](dst, src *T) {
	if src != nil {
		*dst = *src
	}
}

func (r *Recipe) readTensors(n *yaml.Node) error {
	if n.Kind == 0 {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		return formats.Errorf(-1,
			`line %d: "tensors" is no mapping, expected lines such as "blk.0.ffn_up.weight: Q4_K"`, n.Line)
	}
	seen := map[string]bool{}
	for i := 0; i < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		if name.Kind != yaml.ScalarNode || value.Kind != yaml.ScalarNode {
			return formats.Errorf(-1, "line %d: expected a tensor's name and its type", name.Line)
		}
		t, err := quant.ByName(value.Value)
		if err != nil {
			return formats.Errorf(-1, "line %d: tensor %s: %v", value.Line, name.Value, err)
		}
		if seen[name.Value] {
			return formats.Errorf(-1, "line %d: tensor %s is there twice", name.Line, name.Value)
		}
		seen[name.Value] = true
		r.Tensors = append(r.Tensors, quant.Target{Tensor: name.Value, Type: t})
	}
	return nil
}

// YAML returns the recipe as a file, below lines of comment if that is not empty.
func (r *Recipe) YAML(comment string) ([]byte, error) {
	n, err := r.node()
	if err != nil {
		return nil, err
	}
	n.HeadComment = comment
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(n); err != nil {
		return nil, err
	}
	return b.Bytes(), e.Close()
}

// Compact returns the recipe as YAML of one line.
func (r *Recipe) Compact() (string, error) {
	n, err := r.node()
	if err != nil {
		return "", err
	}
	n.Style = yaml.FlowStyle
	b, err := yaml.Marshal(n)
	return string(bytes.TrimSpace(b)), err
}

func (r *Recipe) node() (*yaml.Node, error) {
	y := recipeYAML{Recipe: recipeVersion, FileType: r.FileType.String(), Method: r.Method.Name}
	y.Damp = taken(r.Method, "damp", r.Solve.Damp)
	y.Shrink = taken(r.Method, "shrink", &r.Solve.Shrink)
	y.Refine = taken(r.Method, "refine", &r.Solve.Sweeps)
	y.Asymmetric = taken(r.Method, "asymmetric", &r.Solve.Asymmetric)
	if r.Solve.Outputs != 0 { // recipes without it are as they were before there was this option
		y.Outputs = taken(r.Method, "outputs", &r.Solve.Outputs)
	}
	y.AWQ = taken(r.Method, "awq", &r.AWQ)
	y.Split = taken(r.Method, "split", &r.Split)
	y.Tensors.Kind = yaml.MappingNode
	for _, t := range r.Tensors {
		y.Tensors.Content = append(y.Tensors.Content,
			&yaml.Node{Kind: yaml.ScalarNode, Value: t.Tensor},
			&yaml.Node{Kind: yaml.ScalarNode, Value: t.Type.String()})
	}
	n := new(yaml.Node)
	return n, n.Encode(&y)
}

// taken returns an option's value if the method takes it, otherwise nil.
func taken[T []float64 | *float64 | *int | *bool](m *Method, option string, value T) T {
	if m.Takes(option) {
		return value
	}
	return nil
}
