package verify

import (
	"os"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/verify"
)

// Merge puts the report files of all parts of a verification together, whatever their order, to what one run
// gives. worst is the number of worst tokens to show, -1 for as many as the parts have.
func Merge(paths []string, worst int, q Requirements) (verify.Reports, error) {
	if len(paths) == 0 {
		return nil, usage.Errorf("no reports to merge")
	}
	var parts []verify.Reports
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		list, err := verify.ReadReports(path, data)
		if err != nil {
			return nil, err
		}
		if len(parts) > 0 && len(list) != len(parts[0]) {
			return nil, formats.FileErrorf(path, -1, "reports on %s, expected %d as in %s",
				report.Plural(len(list), "model"), len(parts[0]), paths[0])
		}
		parts = append(parts, list)
	}
	var merged verify.Reports
	for k := range parts[0] {
		var ofModel []*verify.Report
		for _, p := range parts {
			ofModel = append(ofModel, p[k])
		}
		r, err := verify.Merge(ofModel, worst)
		if err != nil {
			return nil, err
		}
		merged = append(merged, r)
	}
	var b *baseline
	if q.Baseline != "" {
		var err error
		if b, err = readBaseline(q.Baseline); err != nil {
			return nil, err
		}
	}
	return merged, q.judge(merged, b)
}
