package calibrate

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/internal/work"
)

const (
	tiny     = "../../../testdata/tiny-phi3"
	tinyText = "../../../testdata/tiny-phi3-calib.txt"
)

// small is options for as many sequences of 64 tokens of the tiny text.
func small(sequences int) Options {
	t := DefaultText()
	t.Files, t.Length, t.Tokens = []string{tinyText}, 64, sequences*64
	return Options{Text: t}
}

func runTiny(ctx context.Context, t *testing.T, out string, opt Options) (*Result, []byte, error) {
	t.Helper()
	r, err := Run(ctx, tiny, out, opt)
	if err != nil {
		return nil, nil, err
	}
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if files, _ := filepath.Glob(out + ".*"); len(files) > 0 {
		t.Errorf("left: %q", files)
	}
	return r, data, nil
}

// The file holds what the options say, whatever the threads and the bound on memory.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	fisher := true
	opt := small(3)
	opt.Fisher, opt.Threads, opt.Against = &fisher, 1, tinyText
	r, want, err := runTiny(t.Context(), t, filepath.Join(dir, "a.gguf"), opt)
	if err != nil {
		t.Fatal(err)
	}
	if r.TextTokens != 192 || r.Sequences != 3 || len(r.Entries) != 17 || !r.Entries[0].Weighted {
		t.Errorf("%d tokens, %d sequences, %d entries", r.TextTokens, r.Sequences, len(r.Entries))
	}
	if len(r.Warnings) != 2 || !strings.Contains(r.Warnings[1], "100.0 % of the calibration text or of "+tinyText) {
		t.Errorf("warnings %q", r.Warnings)
	}
	opt.Threads, opt.MaxRAM = 2, work.ProgramRAM+64<<20
	_, got, err := runTiny(t.Context(), t, filepath.Join(dir, "b.gguf"), opt)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("other bytes with 2 threads and less memory: %v", err)
	}
	sum, err := Show(t.Context(), filepath.Join(dir, "a.gguf"), tinyText, tiny)
	if err != nil || len(sum.Entries) != 17 || len(sum.Warnings) != 2 {
		t.Errorf("%+v, %v", sum, err)
	}
}

// stopper cancels at the first progress of a step after a file is there.
type stopper struct {
	progress.Monitor
	step   string
	after  string
	cancel func()
	notes  []string
}

func (s *stopper) Note(format string, _ ...any) { s.notes = append(s.notes, format) }

func (s *stopper) Begin(what string, total int64, unit progress.Unit) progress.Step {
	if what == s.step {
		return stop{s.Monitor.Begin(what, total, unit), s.after, s.cancel}
	}
	return s.Monitor.Begin(what, total, unit)
}

type stop struct {
	progress.Step
	after  string
	cancel func()
}

func (s stop) Set(done int64) {
	if _, err := os.Stat(s.after); done > 0 && err == nil {
		s.cancel()
	}
}

// What the model writes is the same after an interruption, is mixed with given text as asked for, and is kept for the
// run that continues.
func TestOwnText(t *testing.T) {
	dir := t.TempDir()
	fisher := false
	opt := small(4)
	opt.Self, opt.SelfShare, opt.Fisher = true, 0.5, &fisher
	_, want, err := runTiny(t.Context(), t, filepath.Join(dir, "a.gguf"), opt)
	if err != nil {
		t.Fatal(err)
	}
	s, err := stats.Open(filepath.Join(dir, "a.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if len(s.Datasets) != 2 || s.Datasets[1] != "written by the model at temperature 1" || len(s.Origin.Tokens) != 256 {
		t.Errorf("%q, %d tokens", s.Datasets, len(s.Origin.Tokens))
	}
	out := filepath.Join(dir, "b.gguf")
	ctx, cancel := context.WithCancel(t.Context())
	opt.Monitor = &stopper{Monitor: progress.Quiet(nil), step: "calibrating", after: out + ".work", cancel: cancel}
	_, _, err = runTiny(ctx, t, out, opt)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "continues") {
		t.Fatalf("interrupted: %v", err)
	}
	if _, err := os.Stat(out + ".work.text"); err != nil {
		t.Errorf("its text is not kept: %v", err)
	}
	opt.Monitor = nil
	if _, got, err := runTiny(t.Context(), t, out, opt); err != nil || !bytes.Equal(got, want) {
		t.Errorf("other bytes after an interruption: %v", err)
	}
}

// What cannot be asked for is told apart from files that are wrong.
func TestMistakes(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	for _, c := range []struct {
		want   string
		change func(o *Options)
	}{
		{"--ctx-size is 513, expected 2 to 512", func(o *Options) { o.Length = 513 }},
		{"--self-share is 1", func(o *Options) { o.SelfShare = 1 }},
		{"--temperature is -1", func(o *Options) { o.Files, o.Temperature = nil, -1 }},
		{"must be at least 1", func(o *Options) { o.Tokens = -1 }},
		{"--max-ram is 1.0 MiB, expected at least", func(o *Options) { o.MaxRAM = 1 << 20 }},
		{"--max-ram is 1.0 MiB, expected at least", func(o *Options) { o.Files, o.MaxRAM = nil, 1<<20 }},
		{"of the input", func(o *Options) { o.Files = []string{out} }},
	} {
		opt := small(1)
		c.change(&opt)
		if c.want == "of the input" {
			if err := os.WriteFile(out, []byte("a text"), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		_, err := Run(t.Context(), tiny, out, opt)
		var mistake *usage.Error
		if !errors.As(err, &mistake) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, expected a mistake of usage, %q", err, c.want)
		}
	}
}
