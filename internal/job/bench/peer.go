package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/phi3conv/phi3conv/formats/pmap"
	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/phi3conv/phi3conv/internal/sample"
	"github.com/phi3conv/phi3conv/internal/usage"
)

// checkPeer refuses what llama-bench cannot do: it reads GGUF files and decodes one sequence.
func checkPeer(opt *Options, models []string) error {
	if len(opt.Against) == 0 {
		return nil
	}
	if opt.Sustain > 0 || opt.Parallel != nil {
		return usage.Errorf("%s has no sustained test and no parallel sequences", opt.Against[0])
	}
	if _, err := exec.LookPath(opt.Against[0]); err != nil {
		return usage.Errorf("cannot run %s: %w", opt.Against[0], errors.Unwrap(err))
	}
	for _, path := range models {
		if info, err := os.Stat(path); pmap.Is(path) || err == nil && info.IsDir() {
			return usage.Errorf("%s is not a GGUF file, and %s reads no other", path, opt.Against[0])
		}
	}
	return nil
}

// peer runs the test of r once with llama-bench, which warms up first, and returns its tokens a second.
func (b *bench) peer(ctx context.Context, r *Result) (rate float64, err error) {
	args := append(b.Against[1:len(b.Against):len(b.Against)], "-m", r.Path, "-t", strconv.Itoa(r.Threads),
		"-p", strconv.Itoa(r.Prompt), "-n", strconv.Itoa(r.Gen), "-r", "1", "-o", "json")
	if r.Depth > 0 {
		args = append(args, "-d", strconv.Itoa(r.Depth))
	}
	cmd := exec.CommandContext(ctx, b.Against[0], args...)
	var notes bytes.Buffer
	cmd.Stderr = &notes
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, report.LastLine(notes.String()))
	}
	var results []struct {
		Rate float64 `json:"avg_ts"`
	}
	if err := json.Unmarshal(out, &results); err != nil || len(results) != 1 || results[0].Rate <= 0 {
		return 0, fmt.Errorf("%s: expected one result with avg_ts in llama-bench's JSON, found %.200q",
			strings.Join(cmd.Args, " "), out)
	}
	return results[0].Rate, nil
}

// setPeer takes the peer's tokens a second, one for each repetition.
func (r *Result) setPeer(program string, rates []float64) {
	r.Peer, r.PeerSamples = filepath.Base(program), rates
	r.PeerAvg, _ = meanAndDeviation(rates)
	ratios := make([]float64, len(rates))
	for i, rate := range rates {
		ratios[i] = r.Samples[i] / rate
	}
	few := sample.FewOf(ratios)
	r.Ratio = few.Value()
	if len(ratios) > 1 {
		r.RatioLow, r.RatioHigh = few.Interval(sample.Z975, len(ratios))
	}
}
