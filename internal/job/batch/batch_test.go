package batch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/phi3conv/phi3conv/internal/claim"
	"github.com/phi3conv/phi3conv/internal/objects"
	"github.com/phi3conv/phi3conv/internal/usage"
	"go.yaml.in/yaml/v3"
)

const jobs = `batch: 1
store: out
models:
  - {name: a, path: a}
  - {name: b, path: b}
types: [Q4_K_M, {bpw: 3.5}]
methods: [none, gptq]
calibration: {texts: [calib.txt], chunks: 4}
verification: {texts: [eval.txt], chunks: 8, shards: 2, limits: {max-kld: 0.05}}
publish: ["published/{model}-{type}-{method}.gguf"]
`

// plan makes the plan of the file above with inputs in a directory.
func plan(t *testing.T, text string) *Plan {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"jobs.yaml": text, "a/config.json": "a", "b/config.json": "b", "calib.txt": "c", "eval.txt": "e",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Read(filepath.Join(dir, "jobs.yaml"), "")
	if err != nil {
		t.Fatal(err)
	}
	p, err := Expand(t.Context(), s, nil, Find)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPlan(t *testing.T) {
	p := plan(t, jobs)
	var got []string
	for i, s := range p.Steps {
		got = append(got, s.Kind)
		for _, n := range s.Needs {
			if n >= i {
				t.Errorf("step %d, %s, needs %d", i, s.Name, n)
			}
		}
	}
	file := "quantize verify verify merge publish "
	model := file + "calibrate " + file + file + file
	if want := strings.Fields(model + model); !slices.Equal(got, want) {
		t.Errorf("steps %v\nexpected %v", got, want)
	}
	merge := p.Steps[3]
	want := fmt.Sprintf("verify merge %s/report.json %s/report.json --max-kld=0.05 "+
		"--report %s/report.json --junit %s/junit.xml",
		p.Steps[1].ID[:8], p.Steps[2].ID[:8], merge.ID[:8], merge.ID[:8])
	if got := strings.Join(merge.Command(nil), " "); got != want {
		t.Errorf("%s\nexpected %s", got, want)
	}
}

// A calibration in parts has a step for each part of each round, and one for the text that the model writes.
func TestCalibrationShards(t *testing.T) {
	const (
		start     = "calibrate MODEL --tokens 2000 "
		gradients = "--gradients 1/part.shard --gradients 2/part.shard "
	)
	for calibration, want := range map[string][]string{
		"{texts: [calib.txt], chunks: 4, shards: 2}": {
			"calibrate MODEL --text TEXT --chunks 4 --shard 1/2 -o 0/part.shard",
			"calibrate MODEL --text TEXT --chunks 4 --shard 2/2 -o 1/part.shard",
			"calibrate merge 0/part.shard 1/part.shard -o 2/stats.gguf",
		},
		"{tokens: 2000, shards: 2}": {
			"calibrate own-text MODEL --tokens 2000 -o 0/own.json",
			start + "--own-text 0/own.json --shard 1/2 -o 1/part.shard",
			start + "--own-text 0/own.json --shard 2/2 -o 2/part.shard",
			start + "--own-text 0/own.json " + gradients + "--shard 1/2 -o 3/part.shard",
			start + "--own-text 0/own.json " + gradients + "--shard 2/2 -o 4/part.shard",
			"calibrate merge 1/part.shard 2/part.shard 3/part.shard 4/part.shard -o 5/stats.gguf",
		},
	} {
		text := strings.Replace(jobs, "{texts: [calib.txt], chunks: 4}", calibration, 1)
		p := plan(t, strings.Replace(text, "methods: [none, gptq]", "methods: [gptq]", 1))
		number := map[*Step]int{}
		dir := filepath.Dir(p.Spec.path)
		clean := strings.NewReplacer(filepath.Join(dir, "a"), "MODEL", filepath.Join(dir, "calib.txt"), "TEXT")
		for i, line := range want {
			s := p.Steps[i]
			number[s] = i
			got := strings.Join(s.Command(func(s *Step, output string) string {
				return fmt.Sprintf("%d/%s", number[s], output)
			}), " ")
			if got = clean.Replace(got); got != line {
				t.Errorf("%s: step %d is\n%s\nexpected\n%s", calibration, i, got, line)
			}
		}
		if s := p.Steps[len(want)]; s.Kind != "quantize" || !slices.Equal(s.Needs, []int{len(want) - 1}) {
			t.Errorf("%s: then %s, which needs %v", calibration, s.Name, s.Needs)
		}
	}
}

// What types cost is measured once for the budgets of a method, in parts; bits per weight are another matter.
func TestBudgetShards(t *testing.T) {
	text := strings.Replace(jobs, "{bpw: 3.5}", "{bpw: 3.5}, {size: 1GB}, {max-kld: 0.1}", 1)
	text = strings.Replace(text, "chunks: 4", "chunks: 4, fisher: true", 1)
	p := plan(t, strings.Replace(text, "methods: [none, gptq]", "methods: [gptq]\nbudgets: {shards: 2}", 1))
	need := map[string][]string{}
	for _, s := range p.Steps {
		if s.Kind != "quantize" || s.Model != "a" {
			continue
		}
		for _, n := range s.Needs {
			if c := p.Steps[n]; c.Kind == "costs" {
				need[s.Type] = append(need[s.Type], c.ID)
				line := strings.Join(s.Command(nil), " ")
				if !strings.Contains(line, "--costs "+c.ID[:8]+"/costs.shard") {
					t.Error(line)
				}
			}
		}
	}
	if len(need["1GB"]) != 2 || !slices.Equal(need["1GB"], need["kld0.1"]) || len(need["3.5bpw"]) != 2 ||
		slices.Equal(need["1GB"], need["3.5bpw"]) || need["Q4_K_M"] != nil {
		t.Errorf("%v", need)
	}
}

// An ID depends on the content of inputs, on arguments and on the steps before, and on nothing else: not on where the
// directory is with the file, the store and what is published.
func TestIdentity(t *testing.T) {
	p := plan(t, jobs)
	for _, c := range []struct {
		old, now string
		changes  func(s *Step) bool // all others stay
	}{
		{"", "", func(*Step) bool { return false }},
		{"max-kld: 0.05", "max-kld: 0.06", func(s *Step) bool { return s.Kind == "merge" }},
		{"chunks: 4", "chunks: 5", func(s *Step) bool {
			return s.Method == "gptq" || s.Type == "3.5bpw" || s.Type == ""
		}},
		{"eval.txt", "calib.txt", func(s *Step) bool { return s.Kind == "verify" || s.Kind == "merge" }},
		{"published/", "other/", func(s *Step) bool { return s.Kind == "publish" }},
		{"store: out", "store: deep/out", func(s *Step) bool { return s.Kind == "publish" }},
	} {
		other := plan(t, strings.Replace(jobs, c.old, c.now, 1))
		for i, s := range p.Steps {
			if (s.ID != other.Steps[i].ID) != c.changes(s) {
				t.Errorf("%s to %s: %s of %s", c.old, c.now, s.Kind, s.Name)
			}
		}
	}
	seen := map[string]bool{}
	for _, s := range p.Steps {
		if seen[s.ID] {
			t.Errorf("%s has the ID of another step", s.Name)
		}
		seen[s.ID] = true
	}
}

// What is published never takes the place of an input.
func TestPublishedInputs(t *testing.T) {
	p := plan(t, jobs)
	dir := filepath.Dir(p.Spec.path)
	for to, ok := range map[string]bool{
		"out.gguf": true, "a/x.gguf": false, "a/deep/x.gguf": false, "link.gguf": false,
	} {
		if err := os.Symlink("eval.txt", filepath.Join(dir, "link.gguf")); err != nil && !errors.Is(err, fs.ErrExist) {
			t.Skip(err) // Windows
		}
		s := *p.Spec
		s.Publish = []string{filepath.Join(dir, to)}
		if _, err := Expand(t.Context(), &s, nil, Find); (err == nil) != ok {
			t.Errorf("%s: %v", to, err)
		}
	}
}

// fake stands for the program: an output has the hash of the command and of what the inputs have.
type fake struct {
	mu    sync.Mutex
	runs  map[string]int // of a command without its outputs
	fails func(args []string, id string, run int) (exit int, err error)
}

func (f *fake) exec(_ context.Context, args []string, log io.Writer) (int, error) {
	sum := sha256.New()
	var outputs []string
	for _, a := range args {
		data, err := os.ReadFile(a)
		if filepath.IsAbs(a) {
			if errors.Is(err, fs.ErrNotExist) {
				outputs = append(outputs, a)
			}
			a = filepath.Base(a)
		}
		_, _ = fmt.Fprintf(sum, "%s %s\n", a, data)
	}
	id := hex.EncodeToString(sum.Sum(nil))
	f.mu.Lock()
	f.runs[id]++
	run := f.runs[id]
	f.mu.Unlock()
	if f.fails != nil {
		if exit, err := f.fails(args, id, run); exit != 0 || err != nil {
			_, _ = fmt.Fprintln(log, "it failed")
			return exit, err
		}
	}
	for _, out := range outputs {
		if err := os.WriteFile(out, []byte(id), 0o666); err != nil {
			return 4, err
		}
	}
	return 0, nil
}

func options(store objects.Store, f *fake, name string) Options {
	copied := func(_ context.Context, _, to string) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.runs["copy "+to]++
		return nil
	}
	return Options{Store: store, Exec: f.exec, Copy: copied, Worker: name, Lease: time.Second}
}

// Four workers together do each step once, a second time nothing is done, and one worker alone makes the same files.
func TestRun(t *testing.T) {
	p := plan(t, jobs)
	var sums [2][]string
	for i, store := range []objects.Store{objects.Dir(p.Spec.Store), new(objects.Memory)} {
		f := &fake{runs: map[string]int{}}
		var workers sync.WaitGroup
		for w := range []int{4, 1}[i] {
			workers.Go(func() {
				opt := options(store, f, fmt.Sprint("w", w))
				opt.Index = w
				if status, err := Run(t.Context(), p, opt); err != nil || status.Count[Done] != len(p.Steps) {
					t.Errorf("%v of %d, %v", status.Count, len(p.Steps), err)
				}
			})
		}
		workers.Wait()
		if len(f.runs) != len(p.Steps) {
			t.Errorf("%d commands of %d steps", len(f.runs), len(p.Steps))
		}
		for id, n := range f.runs {
			if n != 1 {
				t.Errorf("%s was done %d times", id, n)
			}
		}
		if _, err := Run(t.Context(), p, options(store, f, "later")); err != nil {
			t.Error(err)
		}
		status, err := Look(t.Context(), p, store)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range status.Steps {
			for _, file := range s.Result.Files {
				sums[i] = append(sums[i], file.SHA256)
			}
		}
	}
	if len(sums[0]) == 0 || !slices.Equal(sums[0], sums[1]) {
		t.Error("the files of four workers differ from those of one")
	}
}

// What fails by a limit or bad input fails once and stops what needs it; what may pass is tried again.
func TestFailures(t *testing.T) {
	p := plan(t, strings.Replace(jobs, ", shards: 2", "", 1))
	for name, test := range map[string]struct {
		command string
		fails   func(run int) (int, error)
		failed  int
		blocked int
	}{
		"limit":     {"verify", func(int) (int, error) { return 1, nil }, 1, 1},
		"bad input": {"calibrate", func(int) (int, error) { return 3, nil }, 1, 9},
		"passes":    {"quantize", func(run int) (int, error) { return map[int]int{1: 4}[run], nil }, 0, 0},
		"killed once": {"quantize", func(run int) (int, error) {
			return 0, map[int]error{1: errors.New("killed")}[run]
		}, 0, 0},
		"always fails": {"quantize", func(int) (int, error) { return 4, nil }, 1, 2},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{runs: map[string]int{}}
			only := "" // the first step of this command fails
			f.fails = func(args []string, id string, run int) (int, error) {
				if args[0] != test.command || only != "" && only != id {
					return 0, nil
				}
				only = id
				return test.fails(run)
			}
			store := new(objects.Memory)
			status, err := Run(t.Context(), p, options(store, f, "w"))
			if err != nil {
				t.Fatal(err)
			}
			want := len(p.Steps) - test.failed - test.blocked
			n := status.Count
			if n[Done] != want || n[Failed] != test.failed || n[Blocked] != test.blocked {
				t.Errorf("%v, expected %d done, %d failed, %d blocked", status.Count, want, test.failed, test.blocked)
			}
			f.fails = nil
			opt := options(store, f, "w2")
			opt.Retry = true
			if status, err = Run(t.Context(), p, opt); err != nil || status.Count[Done] != len(p.Steps) {
				t.Errorf("a second time: %v, %v", status.Count, err)
			}
		})
	}
}

// A step whose workers are lost is given up as one that fails, and tried again when it is asked for. Workers that were
// told to end do not count, nor does what was before the last result.
func TestLostWorkers(t *testing.T) {
	p := plan(t, jobs)
	interrupted := slices.Repeat([]string{claim.Interrupted}, 5)
	for name, test := range map[string]struct {
		ends  []string // of claims that are there, "" of a lost worker
		fails int      // so often
		want  State
		error string
	}{
		"2 lost":          {ends: []string{"", ""}, want: Done},
		"3 lost":          {ends: []string{"", "", ""}, want: Failed, error: "of 3 attempts 3 ended with the worker"},
		"failed and lost": {ends: []string{"disk full", "", ""}, want: Failed, error: "of 3 attempts 2 ended"},
		"interrupted":     {ends: interrupted, fails: 2, want: Done},
		"always fails":    {ends: interrupted, fails: 3, want: Failed, error: "given up after attempt 3: exit code 4"},
		"retried":         {ends: []string{"", "", "done"}, fails: 2, want: Done},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // a lost worker is waited for
			store := new(objects.Memory)
			before := &claim.Worker{Store: store, Name: "before"} // without a lease, so that it waits for nobody
			for _, end := range test.ends {
				c, err := before.Take(t.Context(), p.Steps[0].ID)
				if err == nil && end != "" {
					err = c.End(t.Context(), end)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			f := &fake{runs: map[string]int{}}
			f.fails = func(args []string, _ string, run int) (int, error) {
				if slices.Equal(args[:2], p.Steps[0].Command(nil)[:2]) && run <= test.fails {
					return 4, nil
				}
				return 0, nil
			}
			status, err := Run(t.Context(), p, options(store, f, "w"))
			if err != nil {
				t.Fatal(err)
			}
			first := status.Steps[0]
			if first.State != test.want || !strings.Contains(first.Result.Error, test.error) {
				t.Errorf("%s, %q, expected %s, %q", first.State, first.Result.Error, test.want, test.error)
			}
			f.fails = nil
			opt := options(store, f, "w2")
			opt.Retry = true
			if status, err = Run(t.Context(), p, opt); err != nil || status.Count[Done] != len(p.Steps) {
				t.Errorf("a second time: %v, %v", status.Count, err)
			}
		})
	}
}

// Who is interrupted in the middle of a step gives it back, and says so.
func TestInterrupted(t *testing.T) {
	p, store := plan(t, jobs), new(objects.Memory)
	ctx, cancel := context.WithCancel(t.Context())
	opt := options(store, &fake{runs: map[string]int{}}, "w")
	opt.Exec = func(context.Context, []string, io.Writer) (int, error) {
		cancel()
		return 130, nil
	}
	const want = "interrupted, what is done is kept: "
	if _, err := Run(ctx, p, opt); !errors.Is(err, context.Canceled) || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v, expected %q", err, want)
	}
	states, err := claim.States(t.Context(), store)
	if s := states[p.Steps[0].ID]; err != nil || s.Ended != claim.Interrupted {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ old, now, want string }{
		{"batch: 1", "batch: 2", `"batch" is 2, expected 1`},
		{"store: out", "", `"store" is missing`},
		{"store: out", "store: out\nstored: x", "field stored not found"},
		{"name: a", "name: a b", `is called "a b", expected letters`},
		{"name: b", "name: a", "two models are called a"},
		{"Q4_K_M", "Q4_X", "Q4_X"},
		{"bpw: 3.5", "bpw: 3.5, size: 1GB", "has 2 of type, size, bpw and max-kld"},
		{"gptq", "gpt", "gpt"},
		{"chunks: 4", "chunks: -4", "chunks is -4"},
		{"shards: 2", "shards: 9", "9 shards of 8 windows"},
		{"chunks: 4", "chunks: 4, shards: 5", "5 shards of 4 sequences"},
		{"chunks: 4", "tokens: 4, shards: 25", "shards is 25, expected 1 to 24"},
		{"max-kld: 0.05", "max-kdl: 0.05", "max-kdl"},
		{"bpw: 3.5", "max-kld: 0.1", "fisher: true"},
		{"publish:", "budgets: {shards: -1}\npublish:", "budgets: shards is -1"},
		{"{method}", "{methods}", "{methods}"},
		{"-{method}", "", "is one name for several files, expected {method}"},
		{"{method}.gguf", "{method}", "neither oci://"},
	} {
		if !strings.Contains(jobs, c.old) {
			t.Fatal(c.old)
		}
		_, err := Parse([]byte(strings.Replace(jobs, c.old, c.now, 1)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, expected %q", c.now, err, c.want)
		}
	}
}

// A store that is none is refused before anything is planned.
func TestStoreRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "jobs.yaml")
	text := strings.Replace(jobs, "store: out", "store: gs://bucket/out", 1)
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	var mistake *usage.Error
	if _, err := Read(path, ""); !errors.As(err, &mistake) {
		t.Errorf("%v, expected a usage mistake", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(jobs))
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := Parse(data); err == nil && (s.Store == "" || len(s.Models) == 0 || len(s.Types) == 0) {
			t.Errorf("%+v", s)
		}
	})
}

func TestEmit(t *testing.T) {
	p := plan(t, jobs)
	c := Cluster{Name: "fleet", File: "/it's/jobs.yaml", Content: jobs, Workers: 4, CPUs: 2, Lease: 90 * time.Second,
		Image: "phi3conv:1", Volume: "models"}
	var out bytes.Buffer
	if err := Emit(&out, "kubernetes", p, c); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{ // a pod's paths, threads and files are not those of the machine
		"- --dir\n            - /work\n            - --lease\n            - 1m30s\n",
		"claimName: models", "mountPath: /work",
		"- name: GOMAXPROCS\n              value: \"2\"\n", "fsGroup: 65532", "memory: 7168Mi",
		"automountServiceAccountToken: false",
		// Pod Security's restricted standard
		"runAsUser: 65532", "runAsNonRoot: true", "type: RuntimeDefault", "allowPrivilegeEscalation: false",
		"drop:\n                - ALL\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	d := yaml.NewDecoder(&out)
	var config struct{ Data map[string]string }
	var job struct {
		Kind string
		Spec struct {
			CompletionMode string `yaml:"completionMode"`
			Completions    int
			Policy         struct {
				Rules []struct {
					Action string
					Codes  struct{ Values []int } `yaml:"onExitCodes"`
				}
			} `yaml:"podFailurePolicy"`
		}
	}
	if err := errors.Join(d.Decode(&config), d.Decode(&job)); err != nil {
		t.Fatal(err)
	}
	if config.Data["jobs.yaml"] != jobs {
		t.Errorf("the batch file became %q", config.Data["jobs.yaml"])
	}
	rules := job.Spec.Policy.Rules
	if job.Kind != "Job" || job.Spec.CompletionMode != "Indexed" || job.Spec.Completions != 4 || len(rules) != 2 ||
		rules[0].Action != "Ignore" || rules[1].Action != "FailIndex" ||
		!slices.Equal(rules[1].Codes.Values, []int{1, 2, 3}) {
		t.Errorf("%+v", job)
	}
	out.Reset()
	c.Dir = "/models"
	if err := Emit(&out, "slurm", p, c); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"--array=0-3 ", `batch run '/it'\''s/jobs.yaml' --dir '/models' --lease 1m30s`, "--dependency=afterany:",
		"--mem=7168M", "export GOMAXPROCS=2\n", `batch report '/it'\''s/jobs.yaml' --dir '/models' --html`,
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s in\n%s", want, out.String())
		}
	}
}

// What a pod could not reach, or Kubernetes would not take, is refused.
func TestEmitRefused(t *testing.T) {
	p := plan(t, jobs)
	for _, c := range []struct {
		change   func(c *Cluster)
		old, now string // in the batch file
		want     string
	}{
		{func(c *Cluster) { c.Volume = "" }, "", "", "out: pods have no such path"},
		{func(c *Cluster) { c.Name = "Fleet_1" }, "", "", "lower-case"},
		{func(c *Cluster) { c.Name = strings.Repeat("a", 53) }, "", "", "at most 52"},
		{func(c *Cluster) { c.Lease = 0 }, "", "", "a lease of 0s"},
		{nil, "store: out", "store: /mnt/out", "/mnt/out is not on the volume"},
		{nil, "store: out", "store: a/../../out", "leads out of the volume"},
		{nil, "store: out", "store: /work/out", ""},
		{nil, "store: out", "store: s3://bucket/out", ""},
	} {
		if !strings.Contains(jobs, c.old) {
			t.Fatal(c.old)
		}
		cluster := Cluster{Name: "fleet", Content: strings.Replace(jobs, c.old, c.now, 1), Workers: 4, CPUs: 2,
			Lease: time.Minute, Image: "phi3conv:1", Volume: "models"}
		if c.change != nil {
			c.change(&cluster)
		}
		err := Emit(io.Discard, "kubernetes", p, cluster)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, expected %q", c.now, err, c.want)
		}
	}
}
