package verify

import (
	"fmt"
	"os"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/verify"
)

// baseline is the content of a report file that a verification is compared with.
type baseline struct {
	path    string
	reports verify.Reports
}

func readBaseline(path string) (*baseline, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	list, err := verify.ReadReports(path, data)
	if err != nil {
		return nil, err
	}
	return &baseline{path, list}, nil
}

// check returns an error if the reports, which need no positions, cannot be compared with the baseline.
func (b *baseline) check(list verify.Reports) error {
	return b.each(list, func(r, old *verify.Report) error { return r.Stale(old) })
}

// compare compares each report with the baseline's on the same model.
func (b *baseline) compare(list verify.Reports, allowed []verify.Threshold) error {
	return b.each(list, func(r, old *verify.Report) error { return r.Compare(old, allowed) })
}

func (b *baseline) each(list verify.Reports, do func(r, old *verify.Report) error) error {
	for _, r := range list {
		old, err := b.of(r, len(list) == 1)
		if err == nil {
			err = do(r, old)
		}
		if err != nil {
			return formats.WrapFile(err, b.path, "")
		}
	}
	return nil
}

// of finds the report of the same name, or the only one if there is only one now too.
func (b *baseline) of(r *verify.Report, single bool) (*verify.Report, error) {
	if single && len(b.reports) == 1 {
		return b.reports[0], nil
	}
	var found *verify.Report
	for _, old := range b.reports {
		if old.Quant.Name != r.Quant.Name {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("two reports on %s", r.Quant.Name)
		}
		found = old
	}
	if found == nil {
		return nil, fmt.Errorf("no report on %s", r.Quant.Name)
	}
	return found, nil
}

// judge adds the verdicts on thresholds and, if b is not nil, the comparison with the baseline.
func (q *Requirements) judge(list verify.Reports, b *baseline) error {
	for _, r := range list {
		r.Strict = r.Strict || q.Strict // a part of a shared verification may have been strict
	}
	if len(q.Thresholds) > 0 {
		for _, r := range list {
			if err := r.Judge(q.Thresholds); err != nil {
				return err
			}
		}
	}
	if b == nil {
		return nil
	}
	return b.compare(list, q.Allowed)
}
