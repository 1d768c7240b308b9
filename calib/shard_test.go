package calib

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/phi3conv/phi3conv/calib/stats"
)

// shardRun is a calibration in parts.
type shardRun struct {
	model   string
	origin  stats.Origin
	opt     Options
	dir     string
	threads int
}

// statistics returns statistics to be filled.
func (r *shardRun) statistics() *stats.File {
	o := r.origin
	return &stats.File{ChunkSize: 64, Datasets: []string{"text"}, Origin: &o}
}

// part calibrates with part i of n, after an interruption if that is asked for.
func (r *shardRun) part(t *testing.T, name string, i, n int, gradients stats.Gradients, interrupt bool) string {
	t.Helper()
	path := filepath.Join(r.dir, fmt.Sprintf("%s%d.shard", name, i))
	opt := r.opt
	opt.Work = path + ".work"
	l, shard := openLayers(t, r.model, r.threads), stats.Shard{I: i, N: n}
	if interrupt {
		ctx, cancel := context.WithCancel(t.Context())
		opt.Progress = func(done, total int64) {
			if 2*done > total {
				cancel()
			}
		}
		err := CalibrateShard(ctx, l, r.statistics(), path, shard, gradients, opt)
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("interrupted: %v", err)
		}
		opt.Progress = nil
	}
	if err := CalibrateShard(t.Context(), l, r.statistics(), path, shard, gradients, opt); err != nil {
		t.Fatal(err)
	}
	return path
}

// parts calibrates with all parts, and returns their files.
func (r *shardRun) parts(t *testing.T, n int) (paths []string) {
	t.Helper()
	var gradients stats.Gradients
	if r.opt.Fisher {
		for i := range n + 1 { // a first round may have another number of parts
			paths = append(paths, r.part(t, "gradients", i+1, n+1, nil, i == 0))
		}
		_, all, err := stats.OpenShards(paths)
		if err != nil {
			t.Fatal(err)
		}
		defer all.Close()
		gradients = all
	}
	for i := range n {
		paths = append(paths, r.part(t, "sums", i+1, n, gradients, i == 1))
	}
	return paths
}

// The statistics of parts on several machines are those of one run, to the byte: whatever the lengths of sequences,
// with experts, and with gradients. Each part may be interrupted.
func TestShards(t *testing.T) {
	gqa, o := fisherModel(t)
	// Sequences of 1 to 64 tokens, 1,600 together.
	o.Tokens, o.Lengths = nil, nil
	for left := int32(1600); left > 0; left -= o.Lengths[len(o.Lengths)-1] {
		o.Lengths = append(o.Lengths, min(left, int32(1+len(o.Lengths)*29%64)))
	}
	for i := range 1600 {
		o.Tokens = append(o.Tokens, int32(i*7919%160))
	}
	experts := *statsOf(t, tinyMoE, 64, 24).Origin
	for name, r := range map[string]*shardRun{
		"plain":           {model: gqa, origin: o, opt: Options{Memory: 1 << 30}},
		"fisher, outputs": {model: gqa, origin: o, opt: Options{Fisher: true, Outputs: true, GradientMemory: 1 << 30}},
		"experts":         {model: tinyMoE, origin: experts, opt: Options{Fisher: true, GradientMemory: 1 << 30}},
	} {
		t.Run(name, func(t *testing.T) {
			r.dir, r.threads = t.TempDir(), 2
			whole := filepath.Join(r.dir, "whole.gguf")
			opt := r.opt
			opt.Work = whole + ".work"
			if err := Calibrate(t.Context(), openLayers(t, r.model, 1), r.statistics(), whole, opt); err != nil {
				t.Fatal(err)
			}
			paths := r.parts(t, 2)
			slices.Reverse(paths)
			merged := filepath.Join(r.dir, "merged.gguf")
			if _, err := stats.Merge(t.Context(), paths, merged); err != nil {
				t.Fatal(err)
			}
			want, err := os.ReadFile(whole)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(merged); err != nil || !bytes.Equal(got, want) {
				t.Errorf("other bytes than those of one run: %v", err)
			}
			if left, _ := filepath.Glob(filepath.Join(r.dir, "*.work*")); left != nil {
				t.Errorf("files are left: %q", left)
			}
		})
	}
}
