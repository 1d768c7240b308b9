package batch

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/internal/usage"
)

// Step is a command of the program whose outputs are kept.
type Step struct {
	ID      string   // a hash of all that it depends on, hexadecimal
	Kind    string   // "calibrate", "costs", "quantize", "verify", "merge" or "publish"
	Name    string   // for people
	Args    []Arg    // of the program
	Outputs []string // names of the files that it writes
	Needs   []int    // steps before it, as indices
	Memory  int64    // bytes that it may take, as far as that is known before; 0 if it is not

	Model, Type, Method string // of the file that is made; "" where it is for several
}

// Arg is an argument of a step's command. Exactly one is set, but that Step goes with Output, and As with Text.
type Arg struct {
	Text   string // itself
	As     string // what counts of Text where that is a path of this machine
	Input  string // a path on this machine or a URL
	Output string // a file that this step writes, or of Step
	Step   *Step  // that writes Output; nil for this one
}

// Plan is the list of steps that a [Spec] stands for, each after those that it needs.
type Plan struct {
	Spec  *Spec
	Steps []*Step

	index map[*Step]int
}

// Identity is what an input is known by.
type Identity struct {
	Hash string // of the content: equal only if that is
	Size int64  // bytes
}

// Identify finds the identity of an input: a file, a directory or a URL.
type Identify func(ctx context.Context, path string) (Identity, error)

// newPlan makes the steps, which have no IDs yet.
func newPlan(s *Spec) *Plan {
	p := &Plan{Spec: s, index: map[*Step]int{}}
	for i := range s.Models {
		p.model(&s.Models[i])
	}
	return p
}

// Expand makes the plan, with the versions of inputs that pins has.
func Expand(ctx context.Context, s *Spec, pins Pins, identify Identify) (*Plan, error) {
	p := newPlan(s)
	for _, step := range p.Steps {
		for i, a := range step.Args {
			if now := pins[a.Input]; now != "" {
				step.Args[i].Input = now
			}
		}
	}
	known := map[string]Identity{}
	find := func(ctx context.Context, path string) (Identity, error) {
		if id, ok := known[path]; ok {
			return id, nil
		}
		id, err := identify(ctx, path)
		known[path] = id
		return id, err
	}
	for _, step := range p.Steps {
		if err := step.identify(ctx, find); err != nil {
			return nil, err
		}
	}
	return p, p.checkCopies()
}

func (p *Plan) add(s *Step) *Step {
	for _, a := range s.Args {
		if a.Step != nil {
			if i := p.index[a.Step]; !slices.Contains(s.Needs, i) {
				s.Needs = append(s.Needs, i)
			}
		}
	}
	p.index[s] = len(p.Steps)
	p.Steps = append(p.Steps, s)
	return s
}

func text(list ...string) (args []Arg) {
	for _, a := range list {
		args = append(args, Arg{Text: a})
	}
	return args
}

func flag(name string, value int) []Arg {
	if value == 0 {
		return nil
	}
	return text(name, fmt.Sprint(value))
}

func inputs(name string, paths []string) (args []Arg) {
	for _, path := range paths {
		args = append(args, Arg{Text: name}, Arg{Input: path})
	}
	return args
}

// model adds the steps of a model.
func (p *Plan) model(m *Model) {
	var stats *Step
	costs := map[costsOf][]*Step{}
	for _, t := range p.Spec.Types {
		for _, method := range p.Spec.Methods {
			if stats == nil && (method != none || t.budget()) {
				stats = p.calibrate(m)
			}
			var parts []*Step
			if n := p.Spec.Budgets.Shards; n > 0 && t.budget() {
				which := costsOf{method, t.BPW != 0}
				if costs[which] == nil {
					costs[which] = p.costs(m, t, method, stats, n)
				}
				parts = costs[which]
			}
			file := p.quantize(m, t, method, stats, parts)
			last := p.verify(m, file)
			p.publish(file, last)
		}
	}
}

// workRAM is the greatest default of --max-ram, that of gptq, and what a process takes besides.
const workRAM = 7 << 30

// statistics is the output of the step that calibrates, or merges the parts of that.
const statistics = "stats.gguf"

// calibrate adds the steps that make a model's statistics, and returns the one that has them.
func (p *Plan) calibrate(m *Model) *Step {
	c := &p.Spec.Calibration
	from := []Arg{{Input: m.Path}}
	from = append(from, inputs("--text", c.Texts)...)
	from = append(from, flag("--chunks", c.Chunks)...)
	from = append(from, flag("--tokens", c.Tokens)...)
	from = slices.Clip(from)
	step := func(name, output string, args ...[]Arg) *Step {
		all := append(slices.Concat(args...), Arg{Text: "-o"}, Arg{Output: output})
		return p.add(&Step{Kind: "calibrate", Name: m.Name + "/" + name, Args: all,
			Outputs: []string{output}, Memory: workRAM, Model: m.Name})
	}
	how := from
	if c.Fisher != nil {
		how = append(how, text(fmt.Sprintf("--fisher=%t", *c.Fisher))...)
	}
	if c.Shards == 1 {
		return step("statistics", statistics, text("calibrate"), how)
	}
	if len(c.Texts) == 0 { // the model writes its own, once
		own := step("own text", "own.json", text("calibrate", "own-text"), from)
		how = append(how, Arg{Text: "--own-text"}, Arg{Output: own.Outputs[0], Step: own})
	}
	how = slices.Clip(how)
	merge := text("calibrate", "merge")
	round := func(name string) (gradients []Arg) {
		for i := range c.Shards {
			part := fmt.Sprintf("%d/%d", i+1, c.Shards)
			s := step(name+" "+part, "part.shard", text("calibrate"), how, text("--shard", part))
			gradients = append(gradients, Arg{Text: "--gradients"}, Arg{Output: s.Outputs[0], Step: s})
			merge = append(merge, Arg{Output: s.Outputs[0], Step: s})
		}
		return gradients
	}
	if c.fisher() {
		how = slices.Clip(append(how, round("gradients")...))
	}
	round("statistics")
	return step("statistics", statistics, merge)
}

// costsOf says which budgets of a model share what types cost: bits per weight leave embedding and output no choice.
type costsOf struct {
	method string
	bpw    bool
}

// costs adds the steps that measure in parts what types cost, for a budget and those like it.
func (p *Plan) costs(m *Model, t Type, method string, stats *Step, parts int) (steps []*Step) {
	for i := range parts {
		part := fmt.Sprintf("%d/%d", i+1, parts)
		const output = "costs.shard"
		args := append(quantizeArgs(m, t, method, stats, output), text("--shard", part)...)
		steps = append(steps, p.add(&Step{Kind: "costs", Name: fmt.Sprintf("%s/costs/%s %s", m.Name, method, part),
			Args: args, Outputs: []string{output}, Memory: workRAM, Model: m.Name}))
	}
	return steps
}

func (p *Plan) quantize(m *Model, t Type, method string, stats *Step, costs []*Step) *Step {
	name := fmt.Sprintf("%s-%s.gguf", m.Name, t)
	if method != none {
		name = fmt.Sprintf("%s-%s-%s.gguf", m.Name, t, method)
	}
	args := quantizeArgs(m, t, method, stats, name)
	for _, s := range costs {
		args = append(args, Arg{Text: "--costs"}, Arg{Output: s.Outputs[0], Step: s})
	}
	return p.add(&Step{
		Kind: "quantize", Name: fmt.Sprintf("%s/%s/%s", m.Name, t, method), Args: args,
		Outputs: []string{name}, Memory: workRAM, Model: m.Name, Type: t.String(), Method: method,
	})
}

// quantizeArgs are the arguments for an output of quantize.
func quantizeArgs(m *Model, t Type, method string, stats *Step, output string) []Arg {
	args := append(text("quantize"), Arg{Input: m.Path}, Arg{Output: output})
	args = append(args, text(t.args()...)...)
	// The source's name is not always in its content, which is all that the step's ID depends on.
	args = append(args, text("--model-name", m.Name)...)
	if method != none {
		args = append(args, text("--method", method)...)
	}
	if method != none || t.budget() {
		args = append(args, Arg{Text: "--stats"}, Arg{Output: stats.Outputs[0], Step: stats})
	}
	return args
}

// verify adds the comparison of a file with its model, in parts if it says so, and returns the step with the report.
func (p *Plan) verify(m *Model, file *Step) *Step {
	v := p.Spec.Verification
	if v == nil {
		return nil
	}
	var limits []string
	for _, l := range v.limits {
		limits = append(limits, fmt.Sprintf("--%s=%v", l.Name, l.Limit))
	}
	forms := []Arg{{Text: "--report"}, {Output: "report.json"}, {Text: "--junit"}, {Output: "junit.xml"}}
	outputs := []string{"report.json", "junit.xml"}
	step := func(kind, name string) *Step {
		return &Step{Kind: kind, Name: file.Name + "/" + name, Outputs: outputs,
			Model: file.Model, Type: file.Type, Method: file.Method}
	}
	base := append(text("verify"), Arg{Output: file.Outputs[0], Step: file}, Arg{Text: "--base"}, Arg{Input: m.Path})
	base = append(base, inputs("--text", v.Texts)...)
	base = append(base, flag("--chunks", v.Chunks)...)
	base = append(base, flag("--ctx-size", v.Context)...)
	base = slices.Clip(base)
	if v.Shards == 1 {
		s := step("verify", "verify")
		s.Args = slices.Concat(base, text(limits...), forms)
		return p.add(s)
	}
	merge := text("verify", "merge")
	for i := range v.Shards {
		s := step("verify", fmt.Sprintf("verify %d/%d", i+1, v.Shards))
		s.Outputs = outputs[:1]
		s.Args = slices.Concat(base, text("--shard", fmt.Sprintf("%d/%d", i+1, v.Shards)), forms[:2])
		merge = append(merge, Arg{Output: outputs[0], Step: p.add(s)})
	}
	s := step("merge", "verify")
	s.Args = slices.Concat(merge, text(limits...), forms)
	return p.add(s)
}

// publish adds a step for each name under which the file is published after its verification.
func (p *Plan) publish(file, report *Step) {
	for _, to := range p.Spec.Publish {
		to = strings.NewReplacer("{model}", file.Model, "{type}", file.Type, "{method}", file.Method).Replace(to)
		s := &Step{Kind: "publish", Name: file.Name + "/publish",
			Model: file.Model, Type: file.Type, Method: file.Method}
		if strings.HasPrefix(to, "oci://") {
			s.Args = append(text("pack"), Arg{Output: file.Outputs[0], Step: file})
			if report != nil {
				s.Args = append(s.Args, Arg{Text: "--report"}, Arg{Output: "report.json", Step: report})
			}
			s.Args = append(s.Args, text("-o", to)...)
		} else {
			s.Args = append(text(copyCommand), Arg{Output: file.Outputs[0], Step: file},
				Arg{Text: to, As: p.Spec.fromStore(to)})
		}
		if report != nil {
			s.Needs = []int{p.index[report]}
		}
		p.add(s)
	}
}

// fromStore is the way from the store to a published name, if both are paths: it is the same on all machines that have
// them, wherever that is.
func (s *Spec) fromStore(to string) string {
	if isURL(s.Store) || isURL(to) {
		return ""
	}
	way, err := filepath.Rel(s.Store, to)
	if err != nil {
		return ""
	}
	return filepath.ToSlash(way)
}

// copyCommand is no command of the program: a step that begins with it copies a file to a name.
const copyCommand = "copy"

// checkCopies refuses a published name that is that of an input, or of a file in a directory that is one.
func (p *Plan) checkCopies() error {
	inputs := p.localInputs()
	known := map[string]string{} // by path: the input that it is
	for _, s := range p.Steps {
		if s.Args[0].Text != copyCommand || isURL(s.Args[2].Text) {
			continue
		}
		to := s.Args[2].Text
		for path := to; ; path = filepath.Dir(path) {
			input, ok := known[path]
			if !ok {
				input = inputAt(path, inputs)
				known[path] = input
			}
			if input != "" {
				return usage.Errorf("publish: %s would be written over the input %s, or into it", to, input)
			}
			if path == filepath.Dir(path) {
				break
			}
		}
	}
	return nil
}

// inputFile is an input that is a file or directory here.
type inputFile struct {
	path string
	info os.FileInfo
}

// inputs returns the names of all that steps read, each once.
func (p *Plan) inputs() (all []string) {
	seen := map[string]bool{"": true} // no input
	for _, s := range p.Steps {
		for _, a := range s.Args {
			if !seen[a.Input] {
				seen[a.Input] = true
				all = append(all, a.Input)
			}
		}
	}
	return all
}

// localInputs returns those that are here.
func (p *Plan) localInputs() (all []inputFile) {
	for _, path := range p.inputs() {
		if info, err := os.Stat(path); err == nil {
			all = append(all, inputFile{path, info})
		}
	}
	return all
}

// inputAt returns the input that is the file or directory at path, "" if none is.
func inputAt(path string, inputs []inputFile) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	for _, f := range inputs {
		if os.SameFile(info, f.info) {
			return f.path
		}
	}
	return ""
}

// identify sets the step's ID, and what follows from the size of its model. The steps that it needs have their IDs.
func (s *Step) identify(ctx context.Context, find Identify) error {
	var parts []string
	var size int64
	for _, a := range s.Args {
		switch {
		case a.Input != "":
			id, err := find(ctx, a.Input)
			if err != nil {
				return err
			}
			if size == 0 {
				size = id.Size // the model's, which comes before the texts
			}
			parts = append(parts, "input", id.Hash)
		case a.Step != nil:
			parts = append(parts, "output", a.Step.ID, a.Output)
		case a.Output != "":
			parts = append(parts, "output", a.Output)
		default:
			parts = append(parts, "text", cmp.Or(a.As, a.Text))
		}
	}
	data, err := json.Marshal(struct {
		Version int
		Kind    string
		Args    []string
	}{specVersion, s.Kind, parts})
	if err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	s.ID = hex.EncodeToString(sum[:16])
	if s.Kind == "verify" {
		// Both models are in memory; the quantized one has at most the original's bytes.
		s.Memory = 2*size + 1<<30
	}
	return nil
}

// Command returns the arguments of the program, with the paths that place gives to outputs; nil shows them as they are
// called.
func (s *Step) Command(place func(step *Step, output string) string) (args []string) {
	if place == nil {
		place = func(step *Step, output string) string { return step.ID[:8] + "/" + output }
	}
	for _, a := range s.Args {
		switch {
		case a.Input != "":
			args = append(args, a.Input)
		case a.Step != nil:
			args = append(args, place(a.Step, a.Output))
		case a.Output != "":
			args = append(args, place(s, a.Output))
		default:
			args = append(args, a.Text)
		}
	}
	return args
}
