package main

import (
	"bytes"
	"strings"
	"testing"

	verifyjob "github.com/phi3conv/phi3conv/internal/job/verify"
	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/runtime"
)

// Speed is measured by the program itself, in a process of its own and without one.
func TestBenchProcess(t *testing.T) {
	t.Setenv(asProgram, "1")
	quant := converted(t, testmodel.Phi3(t), "Q4_K_M")
	for name, bench := range map[string]verifyjob.Bench{
		"process": verifyjob.BenchProcess, "here": verifyjob.BenchHere,
	} {
		m, err := bench(t.Context(), quant, runtime.Options{Threads: 2})
		if err != nil || !(m.PP > 0) || !(m.TG > 0) || m.Load <= 0 || m.RSS < 1<<20 ||
			m.BytesPerToken < 1<<20 || m.Bandwidth < 1e8 {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
	if _, err := verifyjob.BenchHere(t.Context(), quant+"x", runtime.Options{Threads: 2}); err == nil {
		t.Error("here: no error where there is no file")
	}
	if _, err := verifyjob.BenchProcess(t.Context(), quant+"x", runtime.Options{Threads: 2}); err == nil ||
		!strings.Contains(err.Error(), "exit status 3: phi3conv: ") {
		t.Errorf("error %v", err)
	}
}

// A step of a batch that runs in this process ends with its exit code, and what it says is in the log.
func TestRunHere(t *testing.T) {
	for want, args := range map[int][]string{exitOK: {"version"}, exitFailed: {"lint", t.TempDir()}} {
		var log bytes.Buffer
		if code, err := runHere(t.Context(), args, &log); code != want || err != nil || log.Len() == 0 {
			t.Errorf("%q: exit code %d, %v, expected %d\n%s", args, code, err, want, &log)
		}
	}
}
