package eval

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/internal/floats"
	"github.com/phi3conv/phi3conv/verify"
)

// Answer is what a model answered.
type Answer struct {
	Path string `json:"file"` // of the record
	Line int    `json:"line"`
	// Text is the letter of the likeliest choice, or what was generated.
	Text string `json:"text"`
	// LogLikelihoods of the choices: the sums of their tokens' ln p.
	LogLikelihoods []float64 `json:"log_likelihoods,omitempty"`
	Scores         []float64 `json:"scores"` // one for each metric
}

// right says whether the question was answered right.
func (a *Answer) right() bool { return a.Scores[0] == 1 }

// Run puts every question to a model. It calls m.Logits with texts that begin alike one after the other:
// a model that keeps what it evaluated last saves most of the work. progress, if not nil,
// is called with the number of questions done.
func (t *Task) Run(ctx context.Context, m verify.Predictor, progress func(done int)) ([]Answer, error) {
	answers := make([]Answer, len(t.Questions))
	for i := range t.Questions {
		q, a := &t.Questions[i], &answers[i]
		a.Path, a.Line = q.Path, q.Line
		var err error
		if t.Kind == Choice {
			err = t.choose(ctx, m, q, a)
		} else {
			err = t.generate(ctx, m, q, a)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", q.Path, q.Line, err)
		}
		if progress != nil {
			progress(i + 1)
		}
	}
	return answers, nil
}

// choose computes the likelihood of each choice. Choices that differ in their last token only, as
// letters do, are evaluated together.
func (t *Task) choose(ctx context.Context, m verify.Predictor, q *Question, a *Answer) error {
	a.LogLikelihoods = make([]float64, len(q.tails))
	done := make([]bool, len(q.tails))
	for i, first := range q.tails {
		if done[i] {
			continue
		}
		before := first.tokens[:len(first.tokens)-1]
		var together []int
		for j, c := range q.tails[i:] {
			if c.from == first.from && slices.Equal(c.tokens[:len(c.tokens)-1], before) {
				together = append(together, i+j)
				done[i+j] = true
			}
		}
		tokens := append(slices.Clip(q.prompt[:first.from]), before...)
		err := m.Logits(ctx, tokens, first.from-1, func(at int, logits []float32) error {
			for _, j := range together {
				nll, err := verify.NLL(logits, q.tails[j].tokens[at+1-first.from])
				if err != nil {
					return err
				}
				a.LogLikelihoods[j] -= nll
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	best, bestNorm, norm := 0, 0, make([]float64, len(q.tails))
	for i, l := range a.LogLikelihoods {
		norm[i] = l / float64(len(t.answer(q.Record, i)))
		if l > a.LogLikelihoods[best] {
			best = i
		}
		if norm[i] > norm[bestNorm] {
			bestNorm = i
		}
	}
	a.Text = letter(best)
	a.Scores = []float64{indicator(best == q.Right)}
	if t.ByText {
		a.Scores = append(a.Scores, indicator(bestNorm == q.Right))
	}
	return nil
}

func indicator(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// generate takes the likeliest token again and again, to a stop id or the end of the line.
func (t *Task) generate(ctx context.Context, m verify.Predictor, q *Question, a *Answer) error {
	dec := t.tok.NewDecoder(false)
	if !t.Chat {
		for _, id := range q.prompt { // the answer continues a text
			dec.Next(id)
		}
	}
	stop := t.tok.StopIDs()
	tokens := slices.Clone(q.prompt)
	var text strings.Builder
	for range t.Predict {
		next := int32(0)
		err := m.Logits(ctx, tokens, len(tokens)-1, func(_ int, logits []float32) error {
			for id, x := range logits {
				if !floats.Finite(x) {
					return fmt.Errorf("the logit of token %d is %v, want a finite number", id, x)
				}
				if x > logits[next] {
					next = int32(id)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if slices.Contains(stop, next) {
			break
		}
		tokens = append(tokens, next)
		text.WriteString(dec.Next(next))
		if strings.Contains(text.String(), "\n") {
			break
		}
	}
	text.WriteString(dec.Flush())
	line, _, _ := strings.Cut(text.String(), "\n")
	a.Text = strings.TrimSpace(line)
	a.Scores = []float64{indicator(ExactMatch(a.Text, q.Answers)), F1(a.Text, q.Answers)}
	return nil
}

// Tokens returns for each question about how many tokens a model evaluates for it and those before it, if it keeps
// what it evaluated last.
func (t *Task) Tokens() []int64 {
	all := make([]int64, len(t.Questions))
	sum := int64(0)
	var before []int32
	for i := range t.Questions {
		q := &t.Questions[i]
		same := 0
		for same < min(len(before), len(q.prompt)) && before[same] == q.prompt[same] {
			same++
		}
		n := len(q.prompt) - same
		if t.Kind != Choice {
			n += t.Predict
		}
		for _, tail := range q.tails {
			n += len(tail.tokens)
		}
		sum += int64(max(1, n))
		all[i], before = sum, q.prompt
	}
	return all
}
