package calibrate

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/usage"
)

// Two machines make the statistics of one, from text of which the model writes a part once, with gradients.
func TestShards(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	fisher := true
	opt := small(17) // 1,088 tokens
	opt.Self, opt.SelfShare, opt.Fisher = true, 0.1, &fisher
	_, want, err := runTiny(t.Context(), t, at("one.gguf"), opt)
	if err != nil {
		t.Fatal(err)
	}
	r, err := WriteText(t.Context(), tiny, at("own.json"), opt)
	if err != nil || r.Tokens < 100 {
		t.Fatalf("own text: %+v, %v", r, err)
	}
	opt.Own = at("own.json")
	var files, gradients []string
	for round, name := range []string{"gradients", "statistics"} {
		sequences := 0
		for i := range 2 {
			path := at(fmt.Sprintf("%s%d.shard", name, i))
			opt.Shard, opt.Gradients = &stats.Shard{I: i + 1, N: 2}, gradients
			r, _, err := runTiny(t.Context(), t, path, opt)
			if err != nil || r.Gradients != (round == 0) || r.Shard.I != i+1 || len(r.Entries) != 0 {
				t.Fatalf("%+v, %v", r, err)
			}
			files, sequences = append(files, path), sequences+r.Sequences
		}
		if sequences < 17 {
			t.Errorf("%d sequences in all parts", sequences)
		}
		gradients = files[:2]
	}
	merged, err := Merge(t.Context(), files, at("merged.gguf"))
	if err != nil || len(merged.Entries) != 17 {
		t.Fatalf("%+v, %v", merged, err)
	}
	if got, err := os.ReadFile(at("merged.gguf")); err != nil || !bytes.Equal(got, want) {
		t.Errorf("other bytes than those of one run: %v", err)
	}
	opt.Gradients = files[2:]
	checkBad(t, opt, "holds statistics, expected gradients")
	opt.Gradients, opt.Seed = gradients, 2
	checkBad(t, opt, "of another model, or of other options")
	opt.Self, opt.Own = false, ""
	checkBad(t, opt, "it is of another seed")
}

// checkBad calibrates, which must be refused because of a file.
func checkBad(t *testing.T, opt Options, want string) {
	t.Helper()
	var e *formats.Error
	_, err := Run(t.Context(), tiny, filepath.Join(t.TempDir(), "out.shard"), opt)
	if !errors.As(err, &e) || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, expected %q", err, want)
	}
}

func TestShardMistakes(t *testing.T) {
	fisher, plain := true, false
	for want, change := range map[string]func(o *Options){
		"at most 3 parts":                  func(o *Options) { o.Shard.N = 4 },
		"--gradients is for --shard":       func(o *Options) { o.Shard = nil },
		"--gradients is for --fisher":      func(o *Options) { o.Fisher = &plain },
		"--fisher-outputs is for the part": func(o *Options) { o.FisherOutputs = &fisher },
	} {
		opt := small(25)
		opt.Shard, opt.Gradients, opt.Fisher = &stats.Shard{I: 1, N: 2}, []string{"g"}, &fisher
		change(&opt)
		var mistake *usage.Error
		_, err := Run(t.Context(), tiny, filepath.Join(t.TempDir(), "out.shard"), opt)
		if !errors.As(err, &mistake) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, expected %q", err, want)
		}
	}
	var mistake *usage.Error
	if _, err := WriteText(t.Context(), tiny, "own.json", small(1)); !errors.As(err, &mistake) {
		t.Errorf("text of no model: %v", err)
	}
}
