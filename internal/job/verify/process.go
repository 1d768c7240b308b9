package verify

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/phi3conv/phi3conv/internal/job/bench"
	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/verify"
)

// Tests of speed, as llama-bench's.
const (
	speedPrompt = 512
	speedGen    = 128
)

// BenchProcess is a [Bench]: it runs this program's bench command, which measures a prompt and decoding.
func BenchProcess(ctx context.Context, path string, opt runtime.Options) (m Measurement, err error) {
	program, err := os.Executable()
	if err != nil {
		return m, err
	}
	args := []string{
		"bench", "--json", "-r", "1", "--n-prompt", strconv.Itoa(speedPrompt), "-n", strconv.Itoa(speedGen),
		"-t", strconv.Itoa(opt.Threads), "--cache-type", opt.Cache.String()}
	if opt.Float32 {
		args = append(args, "--f32")
	}
	if opt.NoRepack {
		args = append(args, "--no-repack")
	}
	cmd := exec.CommandContext(ctx, program, append(args, "--", path)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return m, ctx.Err()
	}
	if err != nil {
		return m, fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
	}
	var d bench.Document
	if err := json.Unmarshal(out, &d); err != nil {
		return m, err
	}
	if len(d.Results) != 2 {
		return m, fmt.Errorf("%s, expected 2", report.Plural(len(d.Results), "measurement"))
	}
	pp, tg := &d.Results[0], &d.Results[1]
	return Measurement{
		SpeedRun:      verify.SpeedRun{PP: pp.Avg, TG: tg.Avg, Load: tg.Load, RSS: tg.Peak},
		BytesPerToken: tg.Read, Bandwidth: tg.Bandwidth,
	}, nil
}
