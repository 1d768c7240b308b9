// Package eval measures how well a language model answers questions, and what
// quantization changed about it: multiple choice by log-likelihood (MMLU) and
// short answers by exact match (TriviaQA).
//
// A [Task] is made of the records of a data file, in one of the forms that [Parse] reads, and
// turned into tokens by a model's tokenizer. [Task.Run] evaluates a model on it, and [NewReport]
// compares the answers of models. docs/eval.md has the prompts to the letter.
package eval

import (
	"fmt"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
)

// Options say how questions are asked.
type Options struct {
	Kind Kind `json:"kind"`
	// ByText scores the text of the choices, which the prompt does not show, instead of their letters.
	ByText  bool `json:"by_text"`
	Shots   int  `json:"shots"`   // examples with their answers before each question
	Chat    bool `json:"chat"`    // the prompt is what a user says, in the form of the chat template
	Context int  `json:"context"` // most tokens of a prompt with its answer
	Predict int  `json:"predict"` // most tokens of a generated answer
}

// Metrics returns the names of the figures, each a mean of values from 0 to 1. The first decides
// whether a question was answered right.
func (o Options) Metrics() []string {
	switch {
	case o.Kind == ShortAnswer:
		return []string{"exact_match", "f1"}
	case o.ByText:
		return []string{"acc", "acc_norm"}
	}
	return []string{"acc"}
}

// Task is a list of questions in a model's tokens.
type Task struct {
	Options
	Questions []Question
	tok       *tokenizer.Tokenizer
}

// Question is a record as tokens.
type Question struct {
	*Record
	Shots  int // examples in the prompt: fewer than wanted if the context is too short
	prompt []int32
	tails  []tail // one for each choice
}

// tail is what follows the first tokens of a prompt: a choice, and the end of the prompt
// where the choice changes its tokens.
type tail struct {
	from   int // tokens of the prompt before it
	tokens []int32
}

// NewTask makes the questions. Examples are the first of the same subject in examples; if that
// is nil, they are the first records of each subject, which are not questions then. Where
// a prompt with its answer is longer than the context, the last examples are left out. Questions of
// one subject follow each other, since they share the beginning of their prompts.
func NewTask(tok *tokenizer.Tokenizer, records, examples []Record, o Options) (*Task, error) {
	var subjects []string
	asked, shown := map[string][]*Record{}, map[string][]*Record{}
	for i := range records {
		r := &records[i]
		if asked[r.Subject] == nil {
			subjects = append(subjects, r.Subject)
		}
		asked[r.Subject] = append(asked[r.Subject], r)
	}
	for i := range examples {
		if r := &examples[i]; len(shown[r.Subject]) < o.Shots {
			shown[r.Subject] = append(shown[r.Subject], r)
		}
	}
	t := &Task{Options: o, tok: tok}
	for _, subject := range subjects {
		list := asked[subject]
		if examples == nil {
			if len(list) <= o.Shots {
				return nil, refuse(list[0].Path, list[0].Line,
					"%s has %d records; %d examples leave no question: use fewer or take them from another file",
					subjectName(subject), len(list), o.Shots)
			}
			shown[subject], list = list[:o.Shots], list[o.Shots:]
		}
		if n := len(shown[subject]); n < o.Shots {
			return nil, formats.FileErrorf(examples[0].Path, -1, "%d examples of %s, expected %d",
				n, subjectName(subject), o.Shots)
		}
		for _, r := range list {
			q, err := t.question(r, shown[subject])
			if err != nil {
				return nil, err
			}
			t.Questions = append(t.Questions, q)
		}
	}
	return t, nil
}

func subjectName(s string) string {
	if s == "" {
		return "no subject"
	}
	return fmt.Sprintf("subject %q", s)
}

// question encodes a record with as many examples as fit.
func (t *Task) question(r *Record, examples []*Record) (Question, error) {
	for n := len(examples); ; n-- {
		q := Question{Record: r, Shots: n}
		text := t.Prompt(r, examples[:n])
		if t.Chat {
			var err error
			if text, err = t.tok.Chat([]tokenizer.Message{{Role: "user", Content: text}}, true, ""); err != nil {
				return q, err
			}
		}
		q.prompt = t.encode(text)
		longest := len(q.prompt) + t.Predict
		if t.Kind == Choice {
			longest = 0
			for i := range r.Choices {
				if t.answer(r, i) == "" {
					return q, refuse(r.Path, r.Line, "choice %s has no text", letter(i))
				}
				all := t.encode(text + t.delimiter() + t.answer(r, i))
				from := 0
				for from < min(len(all), len(q.prompt)) && all[from] == q.prompt[from] {
					from++
				}
				if from == 0 || from == len(all) {
					return q, refuse(r.Path, r.Line, "choice %s has no tokens of its own after the prompt", letter(i))
				}
				q.tails = append(q.tails, tail{from, slices.Clone(all[from:])})
				longest = max(longest, len(all))
			}
		}
		if longest <= t.Context {
			return q, nil
		}
		if n == 0 {
			return q, refuse(r.Path, r.Line,
				"the question takes %d tokens without examples, more than the context of %d", longest, t.Context)
		}
	}
}

// encode returns the tokens of a prompt, to which an answer may be appended.
func (t *Task) encode(text string) []int32 {
	if t.Chat {
		return t.tok.Encode(text, tokenizer.EncodeOptions{ParseSpecial: true})
	}
	return t.tok.Encode(text, tokenizer.EncodeOptions{AddSpecial: true})
}

// delimiter is what comes between a prompt and its answer. A chat template ends with its own.
func (t *Task) delimiter() string {
	if t.Chat {
		return ""
	}
	return " "
}

// answer returns choice i as the model would write it.
func (t *Task) answer(r *Record, i int) string {
	if t.ByText {
		return strings.TrimSpace(r.Choices[i])
	}
	return letter(i)
}

// Prompt returns the text before an answer: what the examples are about, the examples, and the
// question.
func (t *Task) Prompt(r *Record, examples []*Record) string {
	var b strings.Builder
	about := ""
	if r.Subject != "" {
		about = " about " + strings.Join(strings.FieldsFunc(r.Subject,
			func(c rune) bool { return c == '_' || c == ' ' }), " ")
	}
	switch {
	case t.Kind == ShortAnswer:
	case t.ByText:
		fmt.Fprintf(&b, "The following are questions (with answers)%s.\n\n", about)
	default:
		fmt.Fprintf(&b, "The following are multiple choice questions (with answers)%s.\n\n", about)
	}
	for _, e := range examples {
		t.ask(&b, e)
		if t.Kind == ShortAnswer {
			fmt.Fprintf(&b, " %s\n\n", e.Answers[0])
		} else {
			fmt.Fprintf(&b, " %s\n\n", t.answer(e, e.Right))
		}
	}
	t.ask(&b, r)
	return b.String()
}

// ask writes a question without its answer.
func (t *Task) ask(b *strings.Builder, r *Record) {
	if t.Kind == ShortAnswer || t.ByText {
		fmt.Fprintf(b, "Question: %s\nAnswer:", r.Question)
		return
	}
	fmt.Fprintf(b, "%s\n", r.Question)
	for i, c := range r.Choices {
		fmt.Fprintf(b, "%s. %s\n", letter(i), strings.TrimSpace(c))
	}
	b.WriteString("Answer:")
}

// Same returns an error that names the first question whose tokens differ in two tasks.
func (t *Task) Same(other *Task) error {
	for i := range t.Questions {
		q := &t.Questions[i]
		same := i < len(other.Questions) && slices.Equal(q.prompt, other.Questions[i].prompt) &&
			slices.EqualFunc(q.tails, other.Questions[i].tails,
				func(a, b tail) bool { return a.from == b.from && slices.Equal(a.tokens, b.tokens) })
		if !same {
			return fmt.Errorf("the question in line %d of %s has other tokens", q.Line, q.Path)
		}
	}
	return nil
}
