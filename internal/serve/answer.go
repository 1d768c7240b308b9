package serve

import (
	"context"
	"strings"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"github.com/phi3conv/phi3conv/internal/stops"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/runtime/engine"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
)

// piece is a token with the text that it adds: whole characters, which may be none.
type piece struct {
	engine.Token
	text   string
	offset int // characters before it
}

// answer is one choice on its way.
type answer struct {
	index  int
	prompt []piece // with echo
	pieces []piece // whose text begins before a stop string
	text   string  // the answer, without what is held back
	result engine.Result

	dec    *tokenizer.Decoder
	stop   stops.Finder
	found  bool
	offset int // characters of all pieces
}

// job is a choice to compute.
type job struct {
	request engine.Request
	echo    bool
	silent  int // tokens at the beginning of the prompt that stand for no text: a BOS that was added
}

// run computes the choices, as many at a time as the engine runs, unless too many requests are served. It calls show
// with what is new of each, and at the end of each with last set. Calls of show do not overlap.
func (s *Server) run(ctx context.Context, m *Model, jobs []job, stop []string, show func(a *answer, last bool) error,
) ([]*answer, error) {
	if err := bounded(m, jobs); err != nil {
		return nil, err
	}
	ctx, cancel := s.limited(ctx)
	defer cancel()
	leave, err := m.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	all := make([]*answer, len(jobs))
	lock := make(chan struct{}, 1)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(m.Parallel)
	for i, j := range jobs {
		a := &answer{index: i, dec: m.Tokenizer.NewDecoder(true), stop: stops.Finder{Stops: stop}}
		all[i] = a
		group.Go(func() error {
			report := func(last bool) error {
				if show == nil {
					return nil
				}
				lock <- struct{}{}
				defer func() { <-lock }()
				return show(a, last)
			}
			return a.compute(ctx, m, j, report)
		})
	}
	return all, group.Wait()
}

func (a *answer) compute(ctx context.Context, m *Model, j job, report func(last bool) error) error {
	// The prompt goes through the decoder too: what a token adds depends on what is before it.
	for i, id := range j.request.Prompt {
		p := piece{Token: engine.Token{Candidate: engine.Candidate{ID: id}}, offset: a.offset}
		if text := a.dec.Next(id); i >= j.silent {
			p.text = text
		}
		if j.echo {
			a.prompt = append(a.prompt, p)
			a.offset += utf8.RuneCountInString(p.text)
		}
	}
	var failed error
	r := j.request
	r.Emit = func(t engine.Token) bool {
		a.add(t)
		if !j.echo { // an echo comes first, with the log-probabilities that are known at the end
			failed = report(false)
		}
		return failed == nil && !a.found
	}
	var err error
	if a.result, err = m.Engine.Do(ctx, r); err != nil {
		return err
	}
	if failed != nil {
		return failed
	}
	a.end()
	for i := range a.result.Prompt {
		if j.echo {
			a.prompt[i].Token = a.result.Prompt[i]
		}
	}
	return report(true)
}

// add takes the next token of the answer.
func (a *answer) add(t engine.Token) {
	p := piece{Token: t, text: a.dec.Next(t.ID), offset: a.offset}
	a.offset += utf8.RuneCountInString(p.text)
	var text string
	text, a.found = a.stop.Add(p.text)
	a.text += text
	a.pieces = append(a.pieces, p)
	if a.found {
		a.cut()
	}
}

// end adds what was held back.
func (a *answer) end() {
	if a.found {
		return
	}
	text, found := a.stop.Add(a.dec.Flush())
	if a.found = found; found {
		a.text += text
		a.cut()
		return
	}
	a.text += text + a.stop.Held()
}

// cut drops pieces that begin after the end of the text.
func (a *answer) cut() {
	length := utf8.RuneCountInString(a.text)
	for _, p := range a.prompt {
		length += utf8.RuneCountInString(p.text)
	}
	for n := len(a.pieces); n > 0 && a.pieces[n-1].offset >= length; n-- {
		a.pieces = a.pieces[:n-1]
	}
}

// echo returns the text of the prompt.
func (a *answer) echo() string {
	var b strings.Builder
	for _, p := range a.prompt {
		b.WriteString(p.text)
	}
	return b.String()
}

// finish says why the answer ended, in OpenAI's words.
func (a *answer) finish() string {
	if a.found || a.result.Stop == runtime.StopToken {
		return "stop"
	}
	return "length"
}

// usage is OpenAI's count of tokens.
type usage struct {
	Prompt     int `json:"prompt_tokens"`
	Completion int `json:"completion_tokens"`
	Total      int `json:"total_tokens"`
	Details    struct {
		Cached int `json:"cached_tokens"`
	} `json:"prompt_tokens_details"`
}

// count adds up choices; a prompt counts once, however many choices it has.
func count(all []*answer, jobs []job, choices int) *usage {
	u := new(usage)
	for i, a := range all {
		if i%choices == 0 {
			u.Prompt += len(jobs[i].request.Prompt)
			u.Details.Cached += a.result.Kept
		}
		u.Completion += a.result.Tokens
	}
	u.Total = u.Prompt + u.Completion
	return u
}
