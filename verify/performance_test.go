package verify

import (
	"math"
	"strings"
	"testing"
)

func speedReport() *Report {
	r := &Report{Quant: Model{FileBytes: 2 << 30, BitsPerWeight: 4.5}, Performance: &Performance{}}
	var list []SpeedRun
	for i, tg := range []float64{12.1, 12.4, 11.8, 12.0, 12.3} {
		list = append(list, SpeedRun{PP: 100 + tg, TG: tg, Load: 2, RSS: int64(3<<30 + i)})
	}
	r.Performance.Quant = NewSpeed(list, 1e9, 24.24e9)
	return r
}

// Mean, standard error and interval are numpy's and scipy's.
func TestNewSpeed(t *testing.T) {
	s := speedReport().Performance.Quant
	want := Estimate{12.12, 0.10677078252031312, 11.823556783493338, 12.41644321650666}
	for _, v := range [][2]float64{{s.TG.Value, want.Value}, {s.TG.SE, want.SE}, {s.TG.Low, want.Low},
		{s.TG.High, want.High},
		{s.PP.Value, 112.12}, {s.Share, 0.5}, {s.Load, 2}, {float64(s.RSS), 3<<30 + 4}} {
		if math.Abs(v[0]/v[1]-1) > 1e-12 {
			t.Errorf("%v, expected %v: %+v", v[0], v[1], s)
		}
	}
	if e := NewSpeed([]SpeedRun{{TG: 3}}, 1, 1).TG; e.Value != 3 || !math.IsNaN(e.SE) || !math.IsInf(e.High, 1) {
		t.Errorf("of one run: %+v", e)
	}
}

func TestJudgeSpeed(t *testing.T) {
	r := speedReport()
	for _, c := range []struct {
		threshold Threshold
		want      Outcome
		low, high int // of Enough
		text      string
	}{
		{Threshold{"min-tg", 11.8}, Pass, 0, 0, "pass"},
		{Threshold{"min-tg", 12.5}, Fail, 0, 0, "fail"},
		// t·0.2387/√n < 0.12
		{Threshold{"min-tg", 12}, Undecided, 12, 14, "not enough runs to tell: about 13 would be, here are 5"},
		{Threshold{"min-pp", 111}, Pass, 0, 0, "pass"},
		{Threshold{"max-load", 2}, Pass, 0, 0, "pass"},
		{Threshold{"max-load", 1.9}, Fail, 0, 0, "fail"},
		{Threshold{"max-rss", 3<<30 + 4}, Pass, 0, 0, "pass"},
		{Threshold{"max-rss", 3<<30 + 3}, Fail, 0, 0, "fail"},
		{Threshold{"max-size", 2 << 30}, Pass, 0, 0, "pass"},
		{Threshold{"max-size", 2e9}, Fail, 0, 0, "fail"},
		{Threshold{"max-bpw", 4.5}, Pass, 0, 0, "pass"},
		{Threshold{"max-bpw", 4.49}, Fail, 0, 0, "fail"},
	} {
		if err := r.Judge([]Threshold{c.threshold}); err != nil {
			t.Fatal(err)
		}
		got := r.Verdict.Checks[0]
		if got.Outcome != c.want || got.Enough < c.low || got.Enough > c.high || got.Explain(0) != c.text {
			t.Errorf("%+v: %s, %q", c.threshold, got.Outcome, got.Explain(0))
		}
	}
	r.Performance.Quant = NewSpeed(r.Performance.Quant.Runs[:1], 1, 1)
	if err := r.Judge([]Threshold{{"min-tg", 1}}); err != nil || r.Verdict.Outcome != Undecided ||
		r.Verdict.Checks[0].Explain(0) == "" {
		t.Errorf("one run: %v, %+v", err, r.Verdict)
	}
	r.Performance.Quant.RSS = 0
	if err := r.Judge([]Threshold{{"max-rss", 1}}); err == nil || !strings.Contains(err.Error(), "does not tell") {
		t.Errorf("unknown memory: %v", err)
	}
	r.Performance = nil
	for _, name := range []string{"min-tg", "min-pp", "max-load", "max-rss"} {
		if err := r.Judge([]Threshold{{name, 1}}); err == nil || !strings.Contains(err.Error(), "not measured") {
			t.Errorf("%s without speed: %v", name, err)
		}
	}
	if _, err := Judge(nil, []Threshold{{"max-size", 1}}); err == nil {
		t.Error("positions have a size")
	}
}

func TestReportPerformance(t *testing.T) {
	r := testReport(t)
	r.Performance = speedReport().Performance
	base := r.Performance.Quant
	base.TG.Value, base.Load, base.RSS = 6.06, 4, 0
	r.Performance.Base, r.Performance.Threads, r.Performance.Bandwidth = &base, 2, 24.24e9
	if err := r.Judge([]Threshold{{"max-size", 1 << 20}, {"min-tg", 12}}); err != nil {
		t.Fatal(err)
	}
	text := written(t, r.WriteText)
	for _, want := range []string{"Speed, 2 threads; this machine reads 24.2 GB/s\n", "× 2.00", "× 0.50", "3.0 GiB",
		"max-size  fail", "1.0 MiB  2.0 MiB", "about 13 would be"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if back, err := ReadReport("r", []byte(written(t, r.WriteReport))); err != nil ||
		back.Performance.Quant.TG != r.Performance.Quant.TG || back.Performance.Base.RSS != 0 {
		t.Errorf("%v, %+v", err, back)
	}
}
