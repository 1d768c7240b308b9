package verify

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime/debug"
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
	return measurement(d.Results)
}

// BenchHere is a [Bench] for systems where a program cannot start itself: on Android, an app's may be run by the
// dynamic linker, which then is what /proc/self/exe names. Where the system cannot reset the peak of the memory, it is
// that of the whole process.
func BenchHere(ctx context.Context, path string, opt runtime.Options) (m Measurement, err error) {
	debug.FreeOSMemory()
	var results []bench.Result
	err = bench.Run(ctx, []string{path}, bench.Options{
		Prompts: []int{speedPrompt}, Gens: []int{speedGen}, Threads: []int{opt.Threads}, Repetitions: 1, Compute: opt,
	}, func(r *bench.Result) error {
		results = append(results, *r)
		return nil
	})
	if err != nil {
		return m, err
	}
	return measurement(results)
}

// measurement takes what is needed of the results of both tests.
func measurement(results []bench.Result) (m Measurement, err error) {
	if len(results) != 2 {
		return m, fmt.Errorf("%s, expected 2", report.Plural(len(results), "measurement"))
	}
	pp, tg := &results[0], &results[1]
	return Measurement{
		SpeedRun:      verify.SpeedRun{PP: pp.Avg, TG: tg.Avg, Load: tg.Load, RSS: tg.Peak},
		BytesPerToken: tg.Read, Bandwidth: tg.Bandwidth,
	}, nil
}
