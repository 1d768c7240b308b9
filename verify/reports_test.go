package verify

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"slices"
	"strings"
	"testing"
)

// threeReports pass, fail, and have no verdict.
func threeReports(t *testing.T) Reports {
	list := Reports{testReport(t, Threshold{"max-kld", 1}), testReport(t, threeOutcomes...), testReport(t)}
	list[0].Quant.Name, list[2].Quant.Name = "first.gguf", "third.gguf"
	list[0].Quant.FileBytes++ // worse than the second
	list[2].Quant.FileBytes, list[2].Summary.KLD.Value = 1<<20, 1
	return list
}

func TestReports(t *testing.T) {
	list := threeReports(t)
	if got := list.Pareto(); !slices.Equal(got, []bool{false, true, true}) {
		t.Errorf("front %v", got)
	}
	if list.Outcome() != Fail || list[:1].Outcome() != Pass || list[2:].Outcome() != Pass {
		t.Errorf("outcome %s", list.Outcome())
	}
	text := written(t, list.WriteText)
	if !strings.HasPrefix(text, "3 models against tiny_phi3\n") || strings.Count(text, "Pareto front\n") != 2 ||
		strings.Count(text, "\n== ") != 3 || !strings.Contains(text, "third.gguf        ") {
		t.Error(text)
	}
	md := written(t, list.WriteMarkdown)
	if !strings.HasPrefix(md, "## 3 models against tiny&#95;phi3\n\n|  | verdict | size |") ||
		strings.Count(md, "\n### ") != 3 {
		t.Error(md)
	}
	var suites junit
	if err := xml.Unmarshal([]byte(written(t, list.WriteJUnit)), &suites); err != nil || len(suites.Suites) != 3 ||
		suites.Suites[1].Failures != 2 {
		t.Errorf("%v, %+v", err, suites)
	}
}

func TestReadReports(t *testing.T) {
	list := threeReports(t)
	var several struct {
		Schema  int
		Reports []Report
	}
	if err := json.Unmarshal([]byte(written(t, list.WriteJSON)), &several); err != nil || several.Schema != Schema ||
		len(several.Reports) != 3 || several.Reports[1].Positions != nil {
		t.Errorf("%v, %+v", err, several)
	}
	file := written(t, list.WriteReport)
	back, err := ReadReports("r", []byte(file))
	if err != nil || written(t, back.WriteReport) != file {
		t.Errorf("read back: %v", err)
	}
	if _, err := ReadReport("r", []byte(file)); err == nil ||
		!strings.Contains(err.Error(), "r: reports on 3 models, expected one") {
		t.Errorf("%v", err)
	}
	for _, bad := range []string{`{"schema":1,"reports":[]}`, `{"schema":1,"reports":[null]}`,
		`{"schema":1,"reports":[{"schema":2}]}`, `{"schema":1,"reports":3}`} {
		if _, err := ReadReports("r", []byte(bad)); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
	// One alone is written as a report is.
	for i, pair := range [][2]string{
		{written(t, list[:1].WriteText), written(t, list[0].WriteText)},
		{written(t, list[:1].WriteMarkdown), written(t, list[0].WriteMarkdown)},
		{written(t, list[:1].WriteJSON), written(t, list[0].WriteJSON)},
		{written(t, list[:1].WriteReport), written(t, list[0].WriteReport)},
	} {
		if pair[0] != pair[1] {
			t.Errorf("form %d of one report is another", i)
		}
	}
}

// mergeable returns a report on 5 windows of two texts, and its parts.
func mergeable(t *testing.T, strided bool, n int) (whole *Report, parts []*Report) {
	t.Helper()
	c := Conventions{Name: LlamaPerplexity, Context: 16, Stride: 16, First: 8}
	if strided {
		c = Conventions{Name: Strided, Context: 16, Stride: 5}
	}
	var windows []Window
	var texts []Text
	for i, length := range []int{35, 53} {
		w := Windows(i, tokens(length, 50), c, -1)
		texts = append(texts, Text{Name: "t", Tokens: length, Windows: len(w)})
		windows = append(windows, w...)
	}
	report := func(s *Shard) *Report {
		part := windows
		if s != nil {
			part = s.Of(windows)
		}
		p, err := Run(t.Context(), hashed{vocab: 50}, hashed{vocab: 50, noise: 0.3}, part, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !PositionsOf(windows, p) == (s == nil || s.I == 1) || !PositionsOf(part, p) {
			t.Error("positions are of other windows")
		}
		r := NewReport(p, texts, 4)
		r.Tool, r.Conventions, r.Tokens, r.Shard = "t", c, HashWindows(windows), s
		for i := range r.Worst {
			r.Worst[i].Piece = string(rune('a' + r.Worst[i].Token))
		}
		return r
	}
	for i := range n {
		parts = append(parts, report(&Shard{i + 1, n}))
	}
	return report(nil), parts
}

func TestMerge(t *testing.T) {
	for _, strided := range []bool{false, true} {
		for n := 1; n <= 5; n++ {
			whole, parts := mergeable(t, strided, n)
			slices.Reverse(parts)
			got, err := Merge(parts, -1)
			if err != nil {
				t.Fatal(err)
			}
			if a, b := written(t, got.WriteReport), written(t, whole.WriteReport); a != b {
				t.Errorf("%d parts: got\n%s\nexpected\n%s", n, a, b)
			}
		}
	}
	for _, c := range []struct {
		name, want string
		edit       func(p []*Report) []*Report
	}{
		{"none", "no reports", func(p []*Report) []*Report { return nil }},
		{"first missing", "part 1 of 3 is missing", func(p []*Report) []*Report { return p[1:] }},
		{"last missing", "part 3 of 3 is missing", func(p []*Report) []*Report { return p[:2] }},
		{"twice", "part 2 of 3 is there twice", func(p []*Report) []*Report { return append(p, p[1]) }},
		{"whole", "is no part", func(p []*Report) []*Report { p[1].Shard = nil; return p }},
		{"without positions", "part 2 has no positions",
			func(p []*Report) []*Report { p[1].Positions = nil; return p }},
		{"another number", "a part of 3 and one of 4", func(p []*Report) []*Report { p[1].Shard.N = 4; return p }},
		{"program", "parts 1 and 2 do not belong together: another program: t and u",
			func(p []*Report) []*Report { p[1].Tool = "u"; return p }},
		{"original", "another original", func(p []*Report) []*Report { p[1].Base.SHA256 = "u"; return p }},
		{"model", "another quantized model", func(p []*Report) []*Report { p[2].Quant.SHA256 = "u"; return p }},
		{"conventions", "other conventions", func(p []*Report) []*Report { p[1].Conventions.BOS = true; return p }},
		{"cache", "computed in another way", func(p []*Report) []*Report { p[1].Compute.Cache = "q8_0"; return p }},
		{"texts", "another number of texts: 2 and 1",
			func(p []*Report) []*Report { p[1].Texts = p[1].Texts[:1]; return p }},
		{"text", "another text", func(p []*Report) []*Report {
			p[1].Texts = slices.Clone(p[1].Texts)
			p[1].Texts[1].SHA256 = "u"
			return p
		}},
		{"windows", "another number of windows of t: 2 and 3", func(p []*Report) []*Report {
			p[1].Texts = slices.Clone(p[1].Texts)
			p[1].Texts[0].Windows = 3
			return p
		}},
		{"tokens", "other tokens", func(p []*Report) []*Report { p[1].Tokens = "u"; return p }},
		{"too few", "the parts have 34 positions together, the texts 35",
			func(p []*Report) []*Report { p[2].Positions = p[2].Positions[1:]; return p }},
		{"order", "expected one after", func(p []*Report) []*Report { p[1].Positions = p[0].Positions; return p }},
		{"worst", "the text of fewer than 4 of the worst",
			func(p []*Report) []*Report { p[0].Worst, p[1].Worst = nil, nil; return p }},
	} {
		_, parts := mergeable(t, false, 3)
		if _, err := Merge(c.edit(parts), -1); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, expected %q", c.name, err, c.want)
		}
	}
}

// A recorded model gives the same rows.
func TestRecorded(t *testing.T) {
	windows := append(Windows(0, tokens(64, 50), Conventions{Name: LlamaPerplexity, Context: 16, Stride: 16, First: 8},
		-1),
		Windows(1, tokens(20, 50), Conventions{Name: Strided, Context: 16, Stride: 5}, -1)...)
	base, quant := hashed{vocab: 50}, hashed{vocab: 50, noise: 0.3}
	want, err := Run(t.Context(), base, quant, windows, nil)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	done := 0
	if err := Record(t.Context(), base, windows, &b, func(n int) { done = n }); err != nil || done != len(windows) ||
		int64(b.Len()) != RecordedBytes(windows, 50) {
		t.Fatalf("%d bytes of %d windows, error %v", b.Len(), done, err)
	}
	file := b.Bytes()
	got, err := Run(t.Context(), NewRecorded(50, &b), quant, windows, nil)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("other positions, error %v", err)
	}
	if _, err := Run(t.Context(), NewRecorded(50, bytes.NewReader(file[:len(file)-1])), quant, windows,
		nil); err == nil || !strings.Contains(err.Error(), "recorded logits: unexpected EOF") {
		t.Errorf("a file that is too short: %v", err)
	}
}
