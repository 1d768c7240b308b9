// Package lora reads LoRA adapters as PEFT saves them, and adds them to the rows of a model's matrices: plain, rank
// stabilized and DoRA ones, with the matrices that were saved beside them. Reference: peft, tuners/lora.
package lora

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/formats/safetensors"
	"github.com/phi3conv/phi3conv/internal/arch"
)

const (
	configFile  = "adapter_config.json"
	weightsFile = "adapter_model.safetensors"
	maxRank     = 1 << 16
)

// Refuse returns an error if a directory holds an adapter and no model, else nil.
func Refuse(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, configFile)); err != nil {
		return nil
	}
	c, err := readConfig(dir)
	for _, name := range []string{"model.safetensors", "model.safetensors.index.json"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return nil
		}
	}
	base, kind := "a model that it does not name", "an adapter"
	if err == nil && c.Base != "" {
		base = c.Base
	}
	if err == nil && c.Type == "LORA" {
		kind = "a LoRA adapter"
	}
	return formats.FileErrorf(dir, -1, "%s of %s, not a model: phi3conv convert BASE --lora %s -o OUT.gguf, with that "+
		"model's directory for BASE, merges both", kind, base, dir)
}

// config is adapter_config.json.
type config struct {
	Type   string             `json:"peft_type"`
	Base   string             `json:"base_model_name_or_path"`
	Alpha  *float64           `json:"lora_alpha"`
	Alphas map[string]float64 `json:"alpha_pattern"`
	Stable bool               `json:"use_rslora"`
	DoRA   bool               `json:"use_dora"`
	Init   any                `json:"init_lora_weights"`
}

// unsupported are the fields of adapter_config.json that change what an adapter computes in ways not known here.
var unsupported = []string{
	"layer_replication", "trainable_token_indices", "target_parameters", "alora_invocation_tokens", "use_qalora",
	"use_bdlora", "arrow_config", "kasa_config", "velora_config", "monteclora_config", "megatron_config", "lora_bias",
	"ensure_weight_tying",
}

func readConfig(dir string) (*config, error) {
	path := filepath.Join(dir, configFile)
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	data, err := io.ReadAll(io.LimitReader(f, arch.MaxConfig))
	if err != nil {
		return nil, err
	}
	var c config
	var fields map[string]any
	if err := errors.Join(json.Unmarshal(data, &c), json.Unmarshal(data, &fields)); err != nil {
		return nil, formats.WrapFile(err, path, "not the configuration of an adapter")
	}
	if c.Type != "LORA" {
		return &c, formats.FileErrorf(path, -1, "peft_type is %q, expected \"LORA\"", c.Type)
	}
	for _, key := range unsupported {
		if v := fields[key]; v != nil && v != false {
			return &c, formats.FileErrorf(path, -1, "%s is set, which is not supported: merge the adapter with peft",
				key)
		}
	}
	if s, ok := c.Init.(string); ok && s != "gaussian" && s != "eva" && s != "orthogonal" {
		return &c, formats.FileErrorf(path, -1, "init_lora_weights is %q, which changes the base's weights too: merge "+
			"the adapter with peft", s)
	}
	if c.Alpha == nil {
		return &c, formats.FileErrorf(path, -1, "lora_alpha is missing")
	}
	return &c, nil
}

// Adapter is an open adapter.
type Adapter struct {
	Base string // the model that it names as its own, or ""

	dir    string
	file   *safetensors.File
	saved  map[string]*safetensors.Tensor // that stand for those of the model, by name
	own    map[string]bool                // those of saved that were trained apart from the model's
	layers map[string]*Layer              // by the name of the matrix that they are added to
}

// Open opens an adapter. Its matrices are read as they are needed.
func Open(dir string) (*Adapter, error) {
	c, err := readConfig(dir)
	if err != nil {
		return nil, err
	}
	f, err := safetensors.Open(filepath.Join(dir, weightsFile))
	if err != nil {
		return nil, err
	}
	a := &Adapter{
		Base: c.Base, dir: dir, file: f, saved: map[string]*safetensors.Tensor{}, own: map[string]bool{},
		layers: map[string]*Layer{},
	}
	for _, t := range f.Tensors {
		if err := a.add(t); err != nil {
			_ = f.Close()
			return nil, err
		}
	}
	for name, l := range a.layers {
		if err := l.check(c, strings.TrimSuffix(name, ".weight")); err != nil {
			_ = f.Close()
			return nil, formats.WithPath(err, filepath.Join(dir, weightsFile))
		}
	}
	return a, nil
}

// Close closes the file.
func (a *Adapter) Close() error { return a.file.Close() }

// Saved returns the tensor that was saved in place of one of the model's, or nil.
func (a *Adapter) Saved(name string) *safetensors.Tensor { return a.saved[name] }

// Unties reports whether the adapter has an embedding or output matrix of its own, which then are no longer one.
func (a *Adapter) Unties() bool { return a.own[arch.HFEmbedding] || a.own[arch.HFOutput] }

// Layer returns what is added to the matrix of that name, or nil.
func (a *Adapter) Layer(name string) *Layer { return a.layers[name] }

// Names lists the tensors of the model that the adapter changes, sorted.
func (a *Adapter) Names() []string {
	var all []string
	for name := range a.saved {
		all = append(all, name)
	}
	for name := range a.layers {
		all = append(all, name)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// add finds out what a tensor of the file is.
func (a *Adapter) add(t *safetensors.Tensor) error {
	if err := t.DType.Usable(); err != nil {
		return formats.WrapFile(err, t.Path, "tensor "+t.Name)
	}
	name, _ := arch.Unwrap(t.Name)
	name = strings.Replace(name, ".default", "", 1) // the adapter's name, which old versions of PEFT kept
	for suffix, field := range map[string]func(*Layer) **safetensors.Tensor{
		".lora_A.weight":                func(l *Layer) **safetensors.Tensor { return &l.a },
		".lora_B.weight":                func(l *Layer) **safetensors.Tensor { return &l.b },
		".lora_embedding_A":             func(l *Layer) **safetensors.Tensor { l.embedding = true; return &l.a },
		".lora_embedding_B":             func(l *Layer) **safetensors.Tensor { l.embedding = true; return &l.b },
		".lora_magnitude_vector":        func(l *Layer) **safetensors.Tensor { return &l.m },
		".lora_magnitude_vector.weight": func(l *Layer) **safetensors.Tensor { return &l.m },
	} {
		module, ok := strings.CutSuffix(name, suffix)
		if !ok {
			continue
		}
		l := a.layers[module+".weight"]
		if l == nil {
			l = new(Layer)
			a.layers[module+".weight"] = l
		}
		*field(l) = t
		return nil
	}
	if strings.Contains(name, ".lora_") || strings.Contains(name, ".token_adapter.") {
		return formats.FileErrorf(t.Path, -1, "tensor %s is not known: merge the adapter with peft", t.Name)
	}
	own := !strings.Contains(name, ".base_layer.")
	for _, wrapper := range []string{".base_layer.", ".modules_to_save.", ".original_module."} {
		name = strings.Replace(name, wrapper, ".", 1)
	}
	a.saved[name], a.own[name] = t, own
	return nil
}

// Layer is what is added to a matrix of rows × cols: scale · B·A, and with DoRA each row is scaled to its magnitude.
type Layer struct {
	// A [rank, cols], B [rows, rank]; of embeddings A [rank, rows], B [cols, rank]; m is DoRA's magnitude, [rows].
	a, b, m    *safetensors.Tensor
	embedding  bool
	rows, cols int
	rank       int
	scale      float32

	loaded loaded
}

// check sets what follows from the shapes and the configuration. module is the name of what the layer is in.
func (l *Layer) check(c *config, module string) error {
	if l.a == nil || l.b == nil {
		return formats.Errorf(-1, "%s has only one of A and B", module)
	}
	for _, t := range []*safetensors.Tensor{l.a, l.b} {
		if len(t.Shape) != 2 || t.Shape[0]*t.Shape[1] == 0 || max(t.Shape[0], t.Shape[1]) > 1<<24 {
			return formats.Errorf(-1, "tensor %s has shape %v, expected a matrix", t.Name, t.Shape)
		}
	}
	l.rank, l.cols, l.rows = int(l.a.Shape[0]), int(l.a.Shape[1]), int(l.b.Shape[0])
	if l.embedding {
		l.rows, l.cols = l.cols, l.rows
	}
	switch {
	case int(l.b.Shape[1]) != l.rank || l.rank > maxRank:
		return formats.Errorf(-1, "tensor %s has shape %v, expected %d columns, the rank of %s", l.b.Name, l.b.Shape,
			l.rank, l.a.Name)
	case l.m != nil && l.embedding:
		return formats.Errorf(-1, "%s is a DoRA of an embedding, which is not supported: merge the adapter with peft",
			module)
	case l.m != nil && (l.m.Elems() != int64(l.rows)):
		return formats.Errorf(-1, "tensor %s has shape %v, expected %d numbers", l.m.Name, l.m.Shape, l.rows)
	case (l.m != nil) != (c.DoRA && !l.embedding):
		return formats.Errorf(-1, "use_dora is %v, but %s has or lacks a magnitude", c.DoRA, module)
	}
	alpha := *c.Alpha
	for pattern, v := range c.Alphas {
		re, err := regexp.Compile(`^(.*\.)?(` + pattern + `)$`)
		if err != nil {
			return formats.Errorf(-1, "alpha_pattern has %q, which is no regular expression: %v", pattern, err)
		}
		if re.MatchString(module) {
			alpha = v
		}
	}
	if c.Stable {
		l.scale = float32(alpha / math.Sqrt(float64(l.rank)))
	} else {
		l.scale = float32(alpha / float64(l.rank))
	}
	return nil
}

// Fits returns an error if a matrix of that shape is not what the layer is for.
func (l *Layer) Fits(shape []uint64) error {
	if len(shape) == 2 && shape[0] == uint64(l.rows) && shape[1] == uint64(l.cols) {
		return nil
	}
	return fmt.Errorf("the adapter's %s is for a matrix of %d × %d, and the model's has shape %v", l.a.Name, l.rows,
		l.cols, shape)
}
