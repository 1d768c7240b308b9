package eval

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/verify"
)

// golden is ../../testdata/golden/eval.json, but for the model's answers.
type golden struct {
	Normalized [][2]string `json:"normalized"`
	Matches    []struct {
		Answer string   `json:"answer"`
		Right  []string `json:"right"`
		Exact  bool     `json:"exact"`
		F1     float64  `json:"f1"`
	} `json:"matches"`
	Statistics []struct {
		Cells      [4]int     `json:"cells"` // both right, right to wrong, wrong to right, both wrong
		Acc        [4]float64 `json:"acc"`
		Difference [4]float64 `json:"difference"`
		Flips      [4]float64 `json:"flips"`
		McNemar    float64    `json:"mcnemar"`
	} `json:"statistics"`
}

func readGolden(t *testing.T) (g golden) {
	t.Helper()
	data, err := os.ReadFile("../../testdata/golden/eval.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

func TestNormalize(t *testing.T) {
	g := readGolden(t)
	if len(g.Normalized) < 20 || len(g.Matches) < 5 {
		t.Fatal("golden values are missing")
	}
	for _, c := range g.Normalized {
		if got := Normalize(c[0]); got != c[1] {
			t.Errorf("%q: %q, expected %q", c[0], got, c[1])
		}
	}
	for _, c := range g.Matches {
		if got := ExactMatch(c.Answer, c.Right); got != c.Exact {
			t.Errorf("%q of %q: exact match %v", c.Answer, c.Right, got)
		}
		if got := F1(c.Answer, c.Right); math.Abs(got-c.F1) > 1e-12 {
			t.Errorf("%q of %q: F1 %v, expected %v", c.Answer, c.Right, got, c.F1)
		}
	}
}

// answers makes those of a base model and another with counts of both right, right to wrong, wrong to right
// and both wrong.
func answers(cells [4]int) (base, model []Answer) {
	for i, n := range cells {
		for range n {
			base = append(base, Answer{Text: "A", Scores: []float64{indicator(i < 2)}})
			model = append(model, Answer{Text: string("ABBA"[i]), Scores: []float64{indicator(i%2 == 0)}})
		}
	}
	return base, model
}

// reportOf makes one of answers.
func reportOf(base, model []Answer) *Report {
	task := &Task{Options: Options{Kind: Choice}}
	for i := range base {
		base[i].Path, base[i].Line, model[i].Path, model[i].Line = "q.jsonl", i+1, "q.jsonl", i+1
		r := &Record{Path: "q.jsonl", Line: i + 1, Kind: Choice, Question: "Why?\x1b[1m", Choices: []string{"x", "y"}}
		task.Questions = append(task.Questions, Question{Record: r})
	}
	return NewReport(task, &Result{Model: verify.Model{Name: "original"}, Answers: base},
		[]Result{{Model: verify.Model{Name: "quantized"}, Answers: model}})
}

func TestStatistics(t *testing.T) {
	near := func(e verify.Estimate, want [4]float64) bool {
		for i, x := range []float64{e.Value, e.SE, e.Low, e.High} {
			if math.Abs(x-want[i]) > 1e-9 {
				return false
			}
		}
		return true
	}
	for _, c := range readGolden(t).Statistics {
		r := reportOf(answers(c.Cells))
		m := r.Models[0]
		if !near(m.Metrics[0], c.Acc) || !near(m.Paired.Differences[0], c.Difference) ||
			!near(m.Paired.Flips, c.Flips) || math.Abs(m.Paired.McNemar/c.McNemar-1) > 1e-9 {
			t.Errorf("%v: %+v %+v, expected %+v", c.Cells, m.Metrics, m.Paired, c)
		}
		if p := m.Paired; p.RightWrong != c.Cells[1] || p.WrongRight != c.Cells[2] ||
			p.Changed != c.Cells[1]+c.Cells[2] {
			t.Errorf("%v: %+v", c.Cells, p)
		}
	}
}

// The 95 % intervals contain the truth in 93 to 98 % of simulated evaluations.
func TestCoverage(t *testing.T) {
	const runs, n = 2000, 300
	random := rand.New(rand.NewPCG(1, 2))
	for _, p := range [][3]float64{{0.6, 0.05, 0.03}, {0.3, 0.1, 0.1}, {0.8, 0.04, 0.01}} {
		var acc, diff, flips int
		for range runs {
			var cells [4]int
			for range n {
				switch u := random.Float64(); {
				case u < p[0]:
					cells[0]++
				case u < p[0]+p[1]:
					cells[1]++
				case u < p[0]+p[1]+p[2]:
					cells[2]++
				default:
					cells[3]++
				}
			}
			x := pairsOf(answers(cells))
			count := func(k *int, e verify.Estimate, truth float64) {
				if e.Low <= truth && truth <= e.High {
					*k++
				}
			}
			scores := make([]float64, n)
			for i := range cells[0] + cells[2] {
				scores[i] = 1
			}
			count(&acc, estimate(shareOf(scores)), p[0]+p[2])
			count(&diff, estimate(x.differences[0]), p[2]-p[1])
			count(&flips, estimate(x.flips), p[1]+p[2])
		}
		for _, k := range []int{acc, diff, flips} {
			if c := float64(k) / runs; c < 0.93 || c > 0.98 {
				t.Errorf("%v: coverage %.3f of accuracy, %.3f of difference, %.3f of flips", p, float64(acc)/runs,
					float64(diff)/runs, float64(flips)/runs)
				break
			}
		}
	}
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		cells   [4]int
		drop    verify.Outcome // of 0.02
		flips   verify.Outcome // of 0.05
		outcome verify.Outcome
	}{
		{[4]int{700, 0, 0, 300}, verify.Pass, verify.Pass, verify.Pass},
		{[4]int{600, 100, 10, 290}, verify.Fail, verify.Fail, verify.Fail},
		{[4]int{600, 70, 60, 270}, verify.Undecided, verify.Fail, verify.Fail},
		{[4]int{70, 2, 0, 28}, verify.Undecided, verify.Undecided, verify.Undecided},
		{[4]int{10, 0, 0, 2}, verify.Undecided, verify.Undecided, verify.Undecided},
	} {
		r := reportOf(answers(c.cells))
		if err := r.Judge([]verify.Threshold{{Name: "max-acc-drop", Limit: 0.02},
			{Name: "max-flips", Limit: 0.05}}); err != nil {
			t.Fatal(err)
		}
		v := r.Verdict
		if v.Outcome != c.outcome || v.Checks[0].Outcome != c.drop || v.Checks[1].Outcome != c.flips {
			t.Errorf("%v: %+v", c.cells, v)
		}
		for i, check := range v.Checks {
			if check.Outcome != verify.Undecided {
				continue
			}
			// As many questions as it says decide, nine tenths of them do not.
			p := pairsOf(r.Base.Answers, r.Models[0].Answers)
			s := Limits()[i].of(&p)
			if n := check.Enough; n > 0 && (decide(check.Limit, s, n) == verify.Undecided || n > leastQuestions &&
				decide(check.Limit, s, n*9/10) != verify.Undecided) {
				t.Errorf("%v: %d questions are not just enough for %s", c.cells, n, check.Name)
			}
		}
	}
	r := reportOf(answers([4]int{10, 1, 1, 3}))
	for _, bad := range []verify.Threshold{{Name: "max-kld", Limit: 0.1}, {Name: "max-flips", Limit: 1},
		{Name: "max-acc-drop", Limit: math.NaN()}} {
		if r.Judge([]verify.Threshold{bad}) == nil {
			t.Errorf("%v is accepted", bad)
		}
	}
}

func TestReport(t *testing.T) {
	r := reportOf(answers([4]int{60, 6, 2, 32}))
	if err := r.Judge([]verify.Threshold{{Name: "max-acc-drop", Limit: 0.5},
		{Name: "max-flips", Limit: 0.01}}); err != nil {
		t.Fatal(err)
	}
	var text, markdown, junit, js bytes.Buffer
	if err := errors.Join(r.WriteText(&text), r.WriteMarkdown(&markdown), r.WriteJUnit(&junit),
		r.WriteJSON(&js)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Verdict: fail", "right → wrong", "McNemar", "Flipped answers", "q.jsonl:61",
		"A → B"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
	if strings.Contains(text.String()+markdown.String(), "\x1b") {
		t.Error("a question reaches the terminal as it is")
	}
	if !strings.Contains(markdown.String(), "fail") || !strings.Contains(markdown.String(), "max-flips") {
		t.Errorf("%s", markdown.String())
	}
	var suites struct {
		Suite struct {
			Tests    int `xml:"tests,attr"`
			Failures int `xml:"failures,attr"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(junit.Bytes(), &suites); err != nil || suites.Suite.Tests != 2 ||
		suites.Suite.Failures != 1 {
		t.Errorf("%v %+v", err, suites)
	}
	var again Report
	if err := json.Unmarshal(js.Bytes(), &again); err != nil || again.Schema != Schema ||
		len(again.Models[0].Answers) != 100 || again.Models[0].Paired.RightWrong != 6 {
		t.Errorf("%v", err)
	}
}

func TestParse(t *testing.T) {
	lines := `{"question": " What? ", "choices": ["x", "y", "z"], "answer": 2, "subject": "s_t"}

{"question": "What?", "choices": ["x", "y"], "answer": "B"}
`
	want := []Record{
		{Path: "f.jsonl", Line: 1, Kind: Choice, Subject: "s_t", Question: "What?", Choices: []string{"x", "y", "z"},
			Right: 2},
		{Path: "f.jsonl", Line: 3, Kind: Choice, Question: "What?", Choices: []string{"x", "y"}, Right: 1},
	}
	if got, err := Parse("f.jsonl", []byte("\ufeff"+lines), ""); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v %+v", err, got)
	}
	got, err := Parse("f.jsonl", []byte(`{"question":"Who?",`+
		`"answer":{"value":"A B","aliases":["B"],"normalized_aliases":["a b"]}}
{"question":"Who?","answer":["C",""]}
{"question":"Who?","answer":"D"}`), ShortAnswer)
	if err != nil || len(got) != 3 || !reflect.DeepEqual([][]string{got[0].Answers, got[1].Answers, got[2].Answers},
		[][]string{{"A B", "B", "a b"}, {"C"}, {"D"}}) {
		t.Errorf("%v %+v", err, got)
	}
	got, err = Parse("dir/high_school_physics_test.csv", []byte("\"What, \n\"\"now\"\"?\",1,2,3,4,D\nB?,a,b,c,d,A\n"),
		"")
	if err != nil || len(got) != 2 || got[0].Subject != "high_school_physics" ||
		got[0].Question != "What, \n\"now\"?" || got[0].Right != 3 || got[1].Line != 3 || got[1].Choices[3] != "d" {
		t.Errorf("%v %+v", err, got)
	}

	for _, c := range []struct{ path, data, want string }{
		{"e.jsonl", "", "no records"},
		{"e.jsonl", "\n\n{", "line 3"},
		{"e.jsonl", `[]`, "line 1"},
		{"e.jsonl", `{"answer": 1}`, `"question" is missing`},
		{"e.jsonl", `{"question": " ", "answer": "x"}`, `"question" is empty`},
		{"e.jsonl", `{"question": "q", "choices": ["x", "y"]}`, `"answer" is missing`},
		{"e.jsonl", `{"question": "q", "choices": ["x"], "answer": 0}`, "1 choices, expected 2 to 26"},
		{"e.jsonl", `{"question": "q", "choices": ["x", "y"], "answer": 2}`, "from 0 to 1"},
		{"e.jsonl", `{"question": "q", "choices": ["x", "y"], "answer": -1}`, "from 0 to 1"},
		{"e.jsonl", `{"question": "q", "choices": ["x", "y"], "answer": 0.5}`, "from 0 to 1"},
		{"e.jsonl", `{"question": "q", "choices": ["x", "y"], "answer": "C"}`, "from A to B"},
		{"e.jsonl", `{"question": "q", "choices": "xy", "answer": "C"}`, "line 1"},
		{"e.jsonl", `{"question": "q", "answer": 7}`, "expected an object"},
		{"e.jsonl", `{"question": "q", "answer": {"aliases": [" "]}}`, "no text"},
		{"e.jsonl", `{"question": "q", "answer": "x"}` + "\n" + `{"question": "q", "choices": ["x", "y"], "answer": 0}`,
			"line 2"},
		{"e.csv", "q,a,B\n", "columns"},
		{"e.csv", "q,a,b,c,d,E\n", "from A to D"},
		{"e.csv", "q,a,b,A\n\"", "line 2"},
		{"e.csv", " ,a,b,A\n", "question is empty"},
	} {
		_, err := Parse(c.path, []byte(c.data), "")
		var e *formats.Error
		if !errors.As(err, &e) || e.Path != c.path || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, expected %q", c.data, err, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"choice.jsonl", "answer.jsonl"} {
		data, err := os.ReadFile("../../testdata/eval/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(false, data)
	}
	f.Add(true, []byte("\"What, \n\"\"now\"\"?\",1,2,3,4,D\nB?,a,b,c,d,A\n"))
	f.Fuzz(func(t *testing.T, isCSV bool, data []byte) {
		path := "f.jsonl"
		if isCSV {
			path = "f.csv"
		}
		records, err := Parse(path, data, "")
		if err != nil {
			var e *formats.Error
			if !errors.As(err, &e) || e.Path != path {
				t.Fatalf("%v", err)
			}
			return
		}
		for _, r := range records {
			if r.Question == "" || r.Line < 1 || r.Kind == Choice && r.Right >= len(r.Choices) ||
				r.Kind == ShortAnswer && len(r.Answers) == 0 {
				t.Fatalf("%+v", r)
			}
			for _, a := range r.Answers {
				if n := Normalize(a); Normalize(n) != n {
					t.Fatalf("%q is normalized to %q, and that to %q", a, n, Normalize(n))
				}
			}
		}
	})
}

// A prompt to the letter.
func TestPrompt(t *testing.T) {
	r := &Record{Kind: Choice, Subject: "high_school__physics", Question: "Q2?", Choices: []string{" x ", "y"}}
	e := &Record{Kind: Choice, Subject: "high_school__physics", Question: "Q1?", Choices: []string{"u", "v"}, Right: 1}
	a := &Record{Kind: ShortAnswer, Question: "Q3?", Answers: []string{"Ans", "B"}}
	for _, c := range []struct {
		o    Options
		r, e *Record
		want string
	}{
		{Options{Kind: Choice}, r, e,
			"The following are multiple choice questions (with answers) about high school physics.\n\nQ1?\nA. u\nB. " +
				"v\nAnswer: B\n\nQ2?\nA. x\nB. y\nAnswer:"},
		{Options{Kind: Choice, ByText: true}, r, e,
			"The following are questions (with answers) about high school physics.\n\nQuestion: Q1?\nAnswer: " +
				"v\n\nQuestion: Q2?\nAnswer:"},
		{Options{Kind: ShortAnswer}, a, a, "Question: Q3?\nAnswer: Ans\n\nQuestion: Q3?\nAnswer:"},
	} {
		if got := (&Task{Options: c.o}).Prompt(c.r, []*Record{c.e}); got != c.want {
			t.Errorf("%+v:\n%s\nexpected\n%s", c.o, got, c.want)
		}
	}
}
