package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/machine"
	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
	"github.com/phi3conv/phi3conv/verify"
	"github.com/urfave/cli/v2"
)

// verification compares quantized models with the original.
type verification struct {
	c      *cli.Context
	base   string
	quants []string
	opt    runtime.Options // of the quantized models
	conv   verify.Conventions
	shard  *verify.Shard // nil for all windows

	tok     *tokenizer.Tokenizer
	texts   []verify.Text
	windows []verify.Window // of the shard
	tokens  string          // hash of all windows
	models  *described      // the original, then the quantized ones

	positions []verify.Positions // of each quantized model, of the windows done
	bar       progress
	saved     time.Time     // when progress was kept last
	saving    time.Duration // how long that took
	kept      bool          // it was, by this run
}

// run fills in positions of all windows.
func (v *verification) run() error {
	if err := v.check(); err != nil {
		return err
	}
	var err error
	if v.tok, v.texts, v.windows, err = readTexts(v.c, v.base, v.quants, &v.conv); err != nil {
		return err
	}
	v.tokens = verify.HashWindows(v.windows)
	if v.shard != nil {
		if v.shard.N > len(v.windows) {
			return usagef("--shard has %d parts, but there are only %d windows", v.shard.N, len(v.windows))
		}
		v.windows = v.shard.Of(v.windows)
	}
	v.models = describeModels(v.c.Context, append([]string{v.base}, v.quants...))
	defer v.models.close()
	v.positions = make([]verify.Positions, len(v.quants))
	if err := v.resume(); err != nil {
		return err
	}
	if err := v.checkBaseline(); err != nil {
		return err
	}
	v.saved = time.Now()
	v.bar = newCounter(v.c.App.ErrWriter, "verifying", int64(len(v.windows)*len(v.quants)))
	if v.c.Bool("one-at-a-time") {
		err = v.oneAtATime(v.c.Context)
	} else {
		err = v.sideBySide(v.c.Context)
	}
	v.bar.done()
	if e := v.keep(true); err == nil {
		err = e
	} else if e == nil && v.kept {
		_, _ = fmt.Fprintf(v.c.App.ErrWriter, "phi3conv: note: the same command goes on after %d of %d windows, from %s\n", v.began(), len(v.windows), v.partial())
	}
	if err == nil {
		_, err = v.models.wait()
	}
	return err
}

// check finds what headers tell before anything is evaluated.
func (v *verification) check() error {
	var original *arch.Config
	for i, path := range append([]string{v.base}, v.quants...) {
		m, err := source.Open(path)
		if err != nil {
			return err
		}
		cfg := m.Config
		_ = m.Close() // only read from
		if i == 0 {
			original = cfg
		} else if d := cfg.Difference(original); d != "" {
			return &formats.Error{Path: path, Off: -1, What: "another model than the original: " + d}
		}
		if v.conv.Context > cfg.Context {
			return fmt.Errorf("%s: a context of %d tokens; the model was made for 1 to %d", path, v.conv.Context, cfg.Context)
		}
	}
	return nil
}

// done returns for how many windows a quantized model has positions.
func (v *verification) done(model int) int {
	n := len(v.positions[model])
	for i := range v.windows {
		if n < v.windows[i].Scored() {
			return i
		}
		n -= v.windows[i].Scored()
	}
	return len(v.windows)
}

// began returns the number of windows that all models are done with.
func (v *verification) began() int {
	least := len(v.windows)
	for k := range v.quants {
		least = min(least, v.done(k))
	}
	return least
}

// add takes the positions of a quantized model's next window.
func (v *verification) add(model int, p []verify.Position) {
	v.positions[model] = append(v.positions[model], p...)
	total := 0
	for k := range v.quants {
		total += v.done(k)
	}
	v.bar.set(int64(total))
}

// sideBySide opens all models and evaluates window after window.
func (v *verification) sideBySide(ctx context.Context) error {
	from := v.began()
	if from == len(v.windows) {
		return nil
	}
	base, err := openPredictor(v.c, v.base, v.baseOptions(), v.conv.Context)
	if err != nil {
		return err
	}
	defer base.close()
	quants := make([]verify.Predictor, len(v.quants))
	for k, path := range v.quants {
		v.positions[k] = v.positions[k][:verify.Scored(v.windows[:from])]
		q, err := openPredictor(v.c, path, v.opt, v.conv.Context)
		if err != nil {
			return err
		}
		defer q.close()
		quants[k] = q
	}
	return verify.RunAll(ctx, base, quants, v.windows[from:], func(p [][]verify.Position) error {
		for k := range p {
			v.add(k, p[k])
		}
		return v.keep(false)
	})
}

func (v *verification) baseOptions() runtime.Options {
	opt := v.opt
	opt.Float32, opt.Cache = true, runtime.CacheF32
	return opt
}

// oneAtATime evaluates the original, keeps its logits in a temporary file, and then opens one
// quantized model after the other.
func (v *verification) oneAtATime(ctx context.Context) (err error) {
	from := v.began()
	if from == len(v.windows) {
		return nil
	}
	base, err := openPredictor(v.c, v.base, v.baseOptions(), v.conv.Context)
	if err != nil {
		return err
	}
	vocab := base.VocabSize()
	f, err := scratchFile(v.c.App.ErrWriter, verify.RecordedBytes(v.windows[from:], vocab))
	if err == nil {
		defer f.remove()
		w := bufio.NewWriterSize(f, 1<<20)
		bar := newCounter(v.c.App.ErrWriter, "original", int64(len(v.windows)-from))
		err = verify.Record(ctx, base, v.windows[from:], w, func(done int) { bar.set(int64(done)) })
		bar.done()
		if err == nil {
			err = w.Flush()
		}
	}
	base.close()
	if err != nil {
		return err
	}
	for k := range v.quants {
		if err := v.quantized(ctx, k, f, vocab, from); err != nil {
			return err
		}
	}
	return nil
}

// quantized evaluates a quantized model against the file of the original's logits, which begin with window
// number from.
func (v *verification) quantized(ctx context.Context, model int, f io.ReaderAt, vocab, from int) error {
	done := v.done(model)
	if done == len(v.windows) {
		return nil
	}
	v.positions[model] = v.positions[model][:verify.Scored(v.windows[:done])]
	q, err := openPredictor(v.c, v.quants[model], v.opt, v.conv.Context)
	if err != nil {
		return err
	}
	defer q.close()
	skip, size := verify.RecordedBytes(v.windows[from:done], vocab), verify.RecordedBytes(v.windows[from:], vocab)
	rows := verify.NewRecorded(vocab, bufio.NewReaderSize(io.NewSectionReader(f, skip, size-skip), 1<<20))
	return verify.RunAll(ctx, rows, []verify.Predictor{q}, v.windows[done:], func(p [][]verify.Position) error {
		v.add(model, p[0])
		return v.keep(false)
	})
}

// reports summarizes what is done so far.
func (v *verification) reports() (verify.Reports, error) {
	models, err := v.models.wait()
	if err != nil {
		return nil, err
	}
	var list verify.Reports
	for k := range v.quants {
		r := verify.NewReport(v.positions[k], v.texts, v.c.Int("worst"))
		r.Tool, r.Conventions, r.Tokens, r.Shard = "phi3conv "+versionString(), v.conv, v.tokens, v.shard
		r.Compute = verify.Compute{Float32: v.opt.Float32, Cache: v.opt.Cache.String()}
		r.Base, r.Quant = models[0], models[1+k]
		describeWorst(r, v.tok, v.windows)
		list = append(list, r)
	}
	return list, nil
}

// scratch is a temporary file without a name, where the system allows that.
type scratch struct {
	*os.File
	named bool
}

// scratchFile makes a temporary file for so many bytes, and says so.
func scratchFile(w io.Writer, size int64) (*scratch, error) {
	dir := os.TempDir()
	free, err := machine.FreeDisk(dir)
	if err != nil {
		return nil, &fs.PathError{Op: "free space", Path: dir, Err: err}
	}
	need := humanize.IBytes(uint64(size))
	if free < uint64(size) {
		return nil, &fs.PathError{Op: "write", Path: dir, Err: fmt.Errorf(
			"the original's logits take %s, but only %s are free; set TMPDIR to another directory, or use --shard", need, humanize.IBytes(free))}
	}
	_, _ = fmt.Fprintf(w, "phi3conv: note: the original's logits take %s in %s for now\n", need, dir)
	f, err := os.CreateTemp(dir, "phi3conv-logits-")
	if err != nil {
		return nil, err
	}
	// Without a name it is gone when the program ends, however that happens. Windows does not allow it.
	return &scratch{f, os.Remove(f.Name()) != nil}, nil
}

func (f *scratch) remove() {
	_ = f.Close() // only read from by now
	if f.named {
		_ = os.Remove(f.Name())
	}
}

// partial returns the name of the file that keeps progress, "" for none.
func (v *verification) partial() string {
	if path := v.c.String("report"); path != "" {
		return path + ".partial"
	}
	return ""
}

// resume takes up what an interrupted verification has kept, if it was the same one.
func (v *verification) resume() error {
	path := v.partial()
	if path == "" {
		return nil
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	err = v.take(path, data)
	if errors.Is(err, context.Canceled) {
		return err
	}
	if err != nil {
		_, _ = fmt.Fprintf(v.c.App.ErrWriter, "phi3conv: note: %s is of no use, the verification starts anew: %v\n", path, err)
		return nil
	}
	_, _ = fmt.Fprintf(v.c.App.ErrWriter, "phi3conv: note: goes on after %d of %d windows, from %s\n", v.began(), len(v.windows), path)
	return nil
}

// take takes positions from the content of a file of progress.
func (v *verification) take(path string, data []byte) error {
	old, err := verify.ReadReports(path, data)
	if err != nil {
		return err
	}
	now, err := v.reports() // waits until the models are described
	if err != nil {
		return err
	}
	if len(old) != len(now) {
		return fmt.Errorf("it is of %s, not %d", plural(len(old), "model"), len(now))
	}
	for k, r := range old {
		if err := now[k].SameRun(r); err != nil {
			return err
		}
		if (r.Shard == nil) != (v.shard == nil) || v.shard != nil && *r.Shard != *v.shard {
			return errors.New("it is of another part")
		}
		if !verify.PositionsOf(v.windows, r.Positions) {
			return errors.New("its positions are not those of these windows")
		}
	}
	for k, r := range old {
		v.positions[k] = r.Positions
	}
	return nil
}

// whenKept is called when progress was kept: another function in tests.
var whenKept = func() {}

// saveEvery is the least time between two times that progress is kept. Keeping it takes at
// most a twentieth of the time.
var saveEvery = 5 * time.Second

// keep writes what is done to the file of progress, if there is one and it is time to, or if now is set.
func (v *verification) keep(now bool) error {
	path := v.partial()
	began := time.Now()
	if path == "" || len(v.positions[0]) == 0 || !now && began.Sub(v.saved) < max(saveEvery, 20*v.saving) || !v.models.ready() {
		return nil
	}
	list, err := v.reports()
	if err != nil {
		return err
	}
	if err := writeFile(path, list.WriteReport); err != nil {
		return err
	}
	v.saved = time.Now()
	v.saving = v.saved.Sub(began)
	v.kept = true
	whenKept()
	return nil
}

// forget removes the file of progress when the report is written.
func (v *verification) forget() error {
	path := v.partial()
	if path == "" {
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
