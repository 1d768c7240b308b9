package main

import (
	"strings"
	"testing"

	verifyjob "github.com/phi3conv/phi3conv/internal/job/verify"
	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/runtime"
)

// Speed is measured by the program itself.
func TestBenchProcess(t *testing.T) {
	t.Setenv(asProgram, "1")
	quant := converted(t, testmodel.Phi3(t), "Q4_K_M")
	m, err := verifyjob.BenchProcess(t.Context(), quant, runtime.Options{Threads: 2})
	if err != nil || !(m.PP > 0) || !(m.TG > 0) || m.Load <= 0 || m.RSS < 1<<20 ||
		m.BytesPerToken < 1<<20 || m.Bandwidth < 1e8 {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := verifyjob.BenchProcess(t.Context(), quant+"x", runtime.Options{Threads: 2}); err == nil ||
		!strings.Contains(err.Error(), "exit status 3: phi3conv: ") {
		t.Errorf("error %v", err)
	}
}
