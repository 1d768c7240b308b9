package main

import (
	"encoding/csv"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/job/bench"
	"github.com/phi3conv/phi3conv/internal/testmodel"
)

func TestBench(t *testing.T) {
	model := tinyGGUF(t, "Q4_K_M")
	stdout, stderr, code := phi3conv(t, "bench", model, "--n-prompt", "8,0", "-n", "4", "-t", "2", "-r", "2")
	if code != exitOK || stderr != "" {
		t.Fatalf("exit %d\n%s", code, stderr)
	}
	lines := strings.Split(stdout, "\n")
	const row = `^\| tiny-phi3-Q4_K_M +\| +1\.60 MiB \| +2\.66 M \| CPU \w+ +\| +2 `
	for i, want := range []string{
		`^\| model {26}\| +size \| +params \| backend +\| threads \| +test \| +t/s ` +
			`\| +GB/s \| of bandwidth \| +of GMAC/s \|$`,
		`^\| -{30} \| -{9}: \| -{9}: \| -{14} \| -{6}: \| -{14}: \| -{19}: \| -{5}: \| -{11}: \| -{10}: \|$`,
		row + `\| +pp8 \| +\d+\.\d\d ± \d+\.\d\d \| {8}\| {14}\| +\d+% of \d+ \|$`,
		row + `\| +tg4 \| +\d+\.\d\d ± \d+\.\d\d \| +\d+\.\d\d \| +\d+% of \d+\.\d \| +\d+% of \d+ \|$`,
		`^$`,
		`^\S*tiny-phi3-Q4_K_M\.gguf, 2 threads: loaded in \d+\.\d\d s, first token after \d+\.\d\d s, ` +
			`peak RSS \d+\.\d\d [MG]iB, 1\.59 MB of weights read per token, ` +
			`kernels for one token: Q4_K \w+.*, Q6_K \w+.*$`,
		`^$`,
	} {
		if i >= len(lines) || !regexp.MustCompile(want).MatchString(lines[i]) {
			t.Fatalf("line %d does not match %s\n%s", i+1, want, stdout)
		}
	}
	if len(lines) != 7 {
		t.Errorf("%d lines\n%s", len(lines), stdout)
	}
}

func TestBenchFlags(t *testing.T) {
	model := testmodel.Phi3(t)
	stdout, stderr, code := phi3conv(t, "bench", model, "-p", "8", "-n", "0", "-t", "1", "-r", "1", "-o", "json",
		"--f32", "--cache-type", "q8_0", "--no-repack", "-b", "4")
	var got []bench.Result
	dec := json.NewDecoder(strings.NewReader(stdout))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&got); code != exitOK || err != nil || len(got) != 1 {
		t.Fatalf("exit %d, %v\n%s%s", code, err, stdout, stderr)
	}
	if got[0].Path != model || got[0].Threads != 1 || got[0].Test() != "pp8" || got[0].Build == "" {
		t.Errorf("%+v", got[0])
	}
	if r := got[0]; !r.Float32 || !r.NoRepack || r.Cache != "q8_0" || r.Batch != 4 {
		t.Errorf("options %+v", r)
	}
}

func TestBenchCSV(t *testing.T) {
	model := testmodel.Phi3(t)
	stdout, stderr, code := phi3conv(t, "bench", model, model, "--n-prompt", "8,3", "-n", "0", "-t", "1,2", "-r", "1",
		"--format", "csv")
	rows, err := csv.NewReader(strings.NewReader(stdout)).ReadAll()
	if code != exitOK || err != nil || len(rows) != 1+2*2*2 {
		t.Fatalf("exit %d, %v\n%s%s", code, err, stdout, stderr)
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	for i, row := range rows[1:] {
		if row[column["n_prompt"]] != []string{"8", "3"}[i%2] || row[column["n_threads"]] != []string{"1", "2"}[i/2%2] {
			t.Errorf("row %d: %q", i, row)
		}
		if v, err := strconv.ParseFloat(row[column["avg_ts"]], 64); err != nil || v <= 0 {
			t.Errorf("row %d: %q", i, row)
		}
	}
}

func TestBenchErrors(t *testing.T) {
	model := testmodel.Phi3(t)
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{nil, exitUsage, "bench takes one or more MODELs"},
		{[]string{model, "--n-prompt", "a"}, exitUsage,
			`--n-prompt: "a", expected numbers from 0 to 1048576, separated by commas`},
		{[]string{model, "-n", "1,-1"}, exitUsage, `-n: "-1"`},
		{[]string{model, "-t", "0"}, exitUsage, `-t: "0", expected numbers from 1 to 1024`},
		{[]string{model, "--n-prompt", "0", "-n", "0"}, exitUsage, "there is no test to do"},
		{[]string{model, "-n", "0", "--sustain", "1s"}, exitUsage, "there is no test to do"},
		{[]string{model, "--sustain", "-1s"}, exitUsage, "--sustain is -1s"},
		{[]string{model, "-r", "0"}, exitUsage, "-r is 0"},
		{[]string{model, "--format", "xml"}, exitUsage, `--format is "xml", expected md, csv or json`},
		{[]string{model, "--cache-type", "q4_0"}, exitUsage, "--cache-type"},
		{[]string{model, "-p", "513"}, exitBadInput, "a context of 513 tokens; the model was made for 1 to 512"},
		{[]string{"absent"}, exitBadInput, "absent"},
	} {
		stdout, stderr, code := phi3conv(t, append([]string{"bench"}, c.args...)...)
		if code != c.code || !strings.Contains(stderr, c.want) || stdout != "" {
			t.Errorf("%q: exit %d, expected %d and %q\n%s%s", c.args, code, c.code, c.want, stdout, stderr)
		}
	}
}
