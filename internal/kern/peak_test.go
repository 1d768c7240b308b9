package kern

import (
	"testing"
	"time"
)

// Every set but the portable one has peaks, and their loops end.
func TestPeaks(t *testing.T) {
	for _, s := range Sets() {
		for kind, p := range s.Peaks {
			if p.Run == nil {
				continue
			}
			if p.MACs <= 0 {
				t.Errorf("%s, kind %d: %d multiply-adds in a turn", s.Name, kind, p.MACs)
			}
			start := time.Now()
			p.Run(1)
			p.Run(1000)
			if took := time.Since(start); took > time.Second {
				t.Errorf("%s, kind %d: 1001 turns took %s", s.Name, kind, took)
			}
		}
		if s != &generic && (s.Peaks[Int8].Run == nil || s.Peaks[Float32].Run == nil) {
			t.Errorf("%s has no peak", s.Name)
		}
		if (s.ProductBF16 == nil) != (s.Peaks[BFloat16].Run == nil) {
			t.Errorf("%s: products of bfloat16 and their peak are not both there", s.Name)
		}
	}
}

func BenchmarkPeak(b *testing.B) {
	for _, s := range Sets() {
		for kind, p := range s.Peaks {
			if p.Run == nil {
				continue
			}
			b.Run(s.Name+"/"+[]string{"int8", "float32", "bfloat16"}[kind], func(b *testing.B) {
				for b.Loop() {
					p.Run(1000)
				}
				b.ReportMetric(float64(1000*p.MACs)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GMAC/s")
			})
		}
	}
}
