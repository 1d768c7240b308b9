// Package batch makes many quantized models, checks and publishes them, as one file says: models × types × methods.
// Steps are commands of the program. A step is known by the hash of all that it depends on, and its outputs are kept
// under that, so that it is done once, wherever and whenever. docs/batch.md is the manual.
package batch

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/calib"
	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/quant/policy"
	"github.com/phi3conv/phi3conv/verify"
	"go.yaml.in/yaml/v3"
)

// specVersion is that of the YAML form.
const specVersion = 1

// maxSpec is more than a file of any fleet takes.
const maxSpec = 16 << 20

// Spec is what a batch file says. docs/schema/batch-jobs.json describes the form.
type Spec struct {
	Batch  int     `yaml:"batch"`
	Store  string  `yaml:"store"` // a directory or s3://BUCKET/PREFIX
	Models []Model `yaml:"models"`
	Types  []Type  `yaml:"types"`
	// Methods are "none", or names of methods; each type is made with each of them.
	Methods      []string      `yaml:"methods"`
	Calibration  Calibration   `yaml:"calibration"`
	Budgets      Budgets       `yaml:"budgets"`
	Verification *Verification `yaml:"verification"`
	// Publish are names, with {model}, {type} and {method} in them, under which files that passed are published.
	Publish []string `yaml:"publish"`

	path string
	hash string // SHA-256 of the file
}

// Model is a model and the name that outputs have of it.
type Model struct {
	Name string `yaml:"name"`
	Path string `yaml:"path"`
}

// Type is a file type such as Q4_K_M, or a budget: exactly one is set.
type Type struct {
	Name   string  `yaml:"type"`
	Size   string  `yaml:"size"`
	BPW    float64 `yaml:"bpw"`
	MaxKLD float64 `yaml:"max-kld"`
}

// UnmarshalYAML takes a name, or a mapping with one key.
func (t *Type) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		t.Name = n.Value
		return nil
	}
	type plain Type
	return n.Decode((*plain)(t))
}

// String is a name without spaces or slashes.
func (t Type) String() string {
	switch {
	case t.Size != "":
		return t.Size
	case t.BPW != 0:
		return fmt.Sprintf("%gbpw", t.BPW)
	case t.MaxKLD != 0:
		return fmt.Sprintf("kld%g", t.MaxKLD)
	}
	return t.Name
}

// args are the arguments of quantize.
func (t Type) args() []string {
	switch {
	case t.Size != "":
		return []string{"--size", t.Size}
	case t.BPW != 0:
		return []string{"--bpw", fmt.Sprint(t.BPW)}
	case t.MaxKLD != 0:
		return []string{"--max-kld", fmt.Sprint(t.MaxKLD)}
	}
	return []string{t.Name}
}

func (t Type) budget() bool { return t.Name == "" }

// Calibration says what statistics are made of: what calibrate's flags of these names say.
type Calibration struct {
	Texts  []string `yaml:"texts"`
	Chunks int      `yaml:"chunks"`
	Tokens int      `yaml:"tokens"`
	Fisher *bool    `yaml:"fisher"`
	Shards int      `yaml:"shards"` // parts that may be done on different machines
}

// fisher reports whether calibrate weighs tokens by gradients, as it does by itself for the model's own text.
func (c *Calibration) fisher() bool {
	if c.Fisher != nil {
		return *c.Fisher
	}
	return len(c.Texts) == 0
}

// Budgets says how what types cost is measured for budgets.
type Budgets struct {
	// Shards are parts that may be done on different machines, for all budgets of a model; 0 measures for each budget
	// by itself.
	Shards int `yaml:"shards"`
}

// Verification says how files are compared with their model.
type Verification struct {
	Texts   []string  `yaml:"texts"`
	Chunks  int       `yaml:"chunks"`
	Context int       `yaml:"ctx-size"`
	Shards  int       `yaml:"shards"` // parts that may be done on different machines
	Limits  yaml.Node `yaml:"limits"` // as in a file of thresholds

	limits []verify.Threshold
}

// Read reads a file. Paths in it are relative to dir, or to its own directory if that is "".
func Read(path, dir string) (*Spec, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	data, err := io.ReadAll(io.LimitReader(f, maxSpec+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxSpec {
		return nil, formats.FileErrorf(path, -1, "more than %d bytes, expected a batch file", maxSpec)
	}
	s, err := Parse(data)
	if err != nil {
		return nil, formats.WithPath(err, path)
	}
	sum := sha256.Sum256(data)
	s.path, s.hash = path, hex.EncodeToString(sum[:16])
	s.resolve(cmp.Or(dir, filepath.Dir(path)))
	return s, checkStore(s.Store)
}

// Parse reads YAML. Unknown fields are refused.
func Parse(data []byte) (*Spec, error) {
	s := &Spec{}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(s); err == io.EOF {
		return nil, formats.Errorf(-1, `nothing, expected "batch: %d" and more`, specVersion)
	} else if err != nil {
		return nil, formats.Wrapf(err, -1, "")
	}
	if err := d.Decode(new(yaml.Node)); err != io.EOF {
		return nil, formats.Errorf(-1, "more than one YAML document, expected one")
	}
	if s.Batch != specVersion {
		return nil, formats.Errorf(-1, `"batch" is %d, expected %d, the version of the form`, s.Batch, specVersion)
	}
	for _, check := range []func(*Spec) error{
		(*Spec).checkModels, (*Spec).checkTypes, (*Spec).checkCalibration, (*Spec).checkVerification,
		(*Spec).checkPublish,
	} {
		if err := check(s); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// name is what may be a part of a file's name, of a step's and of a label in Kubernetes.
var name = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)

func (s *Spec) checkModels() error {
	if s.Store == "" {
		return formats.Errorf(-1, `"store" is missing: a directory, or s3://BUCKET/PREFIX, for outputs`)
	}
	if len(s.Models) == 0 {
		return formats.Errorf(-1, `"models" is empty, expected a list of name and path`)
	}
	seen := map[string]bool{}
	for i, m := range s.Models {
		if !name.MatchString(m.Name) {
			return formats.Errorf(-1, `model %d is called %q, expected letters, digits, ".", "-", "_"`, i+1, m.Name)
		}
		if m.Path == "" {
			return formats.Errorf(-1, `the model %s has no path`, m.Name)
		}
		if seen[m.Name] {
			return formats.Errorf(-1, "two models are called %s", m.Name)
		}
		seen[m.Name] = true
	}
	return nil
}

func (s *Spec) checkTypes() error {
	if len(s.Types) == 0 {
		return formats.Errorf(-1, `"types" is empty, expected names such as Q4_K_M, or "size: 1.8GB"`)
	}
	if len(s.Methods) == 0 {
		s.Methods = []string{none}
	}
	seen := map[string]bool{}
	for _, t := range s.Types {
		set := 0
		for _, is := range []bool{t.Name != "", t.Size != "", t.BPW != 0, t.MaxKLD != 0} {
			if is {
				set++
			}
		}
		if set != 1 {
			return formats.Errorf(-1, "an entry of \"types\" has %d of type, size, bpw and max-kld, expected one", set)
		}
		if seen[t.String()] {
			return formats.Errorf(-1, "the type %s is there twice", t)
		}
		seen[t.String()] = true
		if t.budget() {
			if t.Size != "" {
				if _, err := verify.ParseSize(t.Size); err != nil {
					return formats.Wrapf(err, -1, "size")
				}
			}
			continue
		}
		if _, err := policy.FileTypeByName(t.Name); err != nil {
			return formats.Wrapf(err, -1, "types")
		}
	}
	for _, m := range s.Methods {
		if seen["method "+m] {
			return formats.Errorf(-1, "the method %s is there twice", m)
		}
		seen["method "+m] = true
		if m == none {
			continue
		}
		if _, err := calib.MethodByName(m); err != nil {
			return formats.Wrapf(err, -1, "methods")
		}
	}
	return nil
}

// none is the method of files that are made without statistics.
const none = "none"

func (s *Spec) checkCalibration() error {
	c := &s.Calibration
	switch {
	case c.Chunks < 0:
		return formats.Errorf(-1, "calibration: chunks is %d, expected a positive number", c.Chunks)
	case c.Tokens < 0:
		return formats.Errorf(-1, "calibration: tokens is %d, expected a positive number", c.Tokens)
	case c.Chunks > 0 && c.Tokens > 0:
		return formats.Errorf(-1, "calibration: both chunks and tokens, expected one")
	case c.Shards < 0 || c.Shards > stats.MaxShards:
		return formats.Errorf(-1, "calibration: shards is %d, expected 1 to %d", c.Shards, stats.MaxShards)
	case s.Budgets.Shards < 0:
		return formats.Errorf(-1, "budgets: shards is %d, expected a positive number", s.Budgets.Shards)
	case c.Chunks > 0 && c.Shards > c.Chunks:
		return formats.Errorf(-1, "calibration: %d shards of %d sequences, expected fewer", c.Shards, c.Chunks)
	}
	for _, t := range s.Types {
		if t.MaxKLD > 0 && !c.fisher() {
			return formats.Errorf(-1, "the type max-kld: %g needs a calibration with fisher: true", t.MaxKLD)
		}
	}
	c.Shards = max(1, c.Shards)
	return nil
}

func (s *Spec) checkVerification() error {
	v := s.Verification
	if v == nil {
		return nil
	}
	switch {
	case len(v.Texts) == 0:
		return formats.Errorf(-1, "verification: texts is empty, expected files with text to predict")
	case v.Chunks < 0 || v.Context < 0 || v.Shards < 0:
		return formats.Errorf(-1, "verification: chunks, ctx-size and shards are positive numbers")
	case v.Chunks > 0 && v.Shards > v.Chunks*len(v.Texts):
		return formats.Errorf(-1, "verification: %d shards of %d windows, expected fewer",
			v.Shards, v.Chunks*len(v.Texts))
	}
	v.Shards = max(1, v.Shards)
	if v.Limits.Kind == 0 {
		return nil
	}
	data, err := yaml.Marshal(&v.Limits)
	if err != nil {
		return formats.Wrapf(err, -1, "verification: limits")
	}
	if v.limits, err = verify.ReadThresholds("", data); err != nil {
		return formats.Wrapf(err, -1, "verification: limits")
	}
	return nil
}

// placeholder is what Publish may contain.
var placeholder = regexp.MustCompile(`\{[^}]*\}`)

func (s *Spec) checkPublish() error {
	for _, p := range s.Publish {
		for _, word := range placeholder.FindAllString(p, -1) {
			if !slices.Contains([]string{"{model}", "{type}", "{method}"}, word) {
				return formats.Errorf(-1, "publish: %s in %s, expected {model}, {type} or {method}", word, p)
			}
		}
		if !strings.HasPrefix(p, "oci://") && !strings.HasSuffix(p, ".gguf") {
			return formats.Errorf(-1, "publish: %s is neither oci://… nor a name that ends in .gguf", p)
		}
		for word, many := range map[string]bool{
			"{model}": len(s.Models) > 1, "{type}": len(s.Types) > 1, "{method}": len(s.Methods) > 1,
		} {
			if many && !strings.Contains(p, word) {
				return formats.Errorf(-1, "publish: %s is one name for several files, expected %s in it", p, word)
			}
		}
	}
	return nil
}

// isURL reports whether a path names something that is not on this machine.
func isURL(path string) bool { return strings.Contains(path, "://") }

// paths returns the store, the inputs and the published names, which may be changed.
func (s *Spec) paths() []*string {
	all := []*string{&s.Store}
	for i := range s.Models {
		all = append(all, &s.Models[i].Path)
	}
	lists := [][]string{s.Calibration.Texts, s.Publish}
	if s.Verification != nil {
		lists = append(lists, s.Verification.Texts)
	}
	for _, list := range lists {
		for i := range list {
			all = append(all, &list[i])
		}
	}
	return all
}

// resolve makes paths relative to dir independent of the current directory.
func (s *Spec) resolve(dir string) {
	for _, path := range s.paths() {
		if !isURL(*path) && !filepath.IsAbs(*path) {
			*path = filepath.Join(dir, *path)
		}
	}
}
