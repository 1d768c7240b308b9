package chat

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/runtime"
)

// Shift makes room in the context: it drops the oldest exchanges until what is left takes at most half of the context,
// and at least one. The system message and the last exchange stay. Without a template it drops the oldest tokens but
// BOS. It returns how many exchanges, or tokens, it has dropped.
//
// What is left is evaluated anew: keys and values of tokens depend on all tokens before them, so moving them, as
// llama.cpp does, gives other results than the text that is left.
func (c *Chat) Shift() (int, error) {
	if !c.chat {
		return c.shiftTokens()
	}
	n, err := c.oldest(nil, 0)
	if err == nil {
		c.exchanges = slices.Delete(c.exchanges, 0, n)
	}
	return n, err
}

// Dropped writes what [Chat.Shift] returns.
func (c *Chat) Dropped(n int) string {
	if c.chat {
		return report.Plural(n, "exchange")
	}
	return report.Plural(n, "token")
}

// oldest returns how many exchanges have to go for others, with so many tokens more.
func (c *Chat) oldest(instead []exchange, more int) (int, error) {
	older := len(c.exchanges) - 1
	if older < 1 {
		return 0, usage.Errorf("there is no older exchange to drop")
	}
	without := func(n int) []exchange { return slices.Concat(instead, c.exchanges[n:]) }
	n, err := c.firstFit(1, older, c.Context()/2-more, without)
	if err != nil || n < older {
		return n, err
	}
	tokens, err := c.tokens(without(n))
	if err == nil && len(tokens)+more > c.Context() {
		err = usage.Errorf("the last exchange alone is too long: %w",
			&runtime.ContextError{Tokens: len(tokens) + more, Context: c.Context()})
	}
	return n, err
}

// firstFit returns the first of the numbers from first to last for which a conversation has at most limit tokens, or
// last if there is none. The greater the number, the shorter the conversation.
func (c *Chat) firstFit(first, last, limit int, conversation func(n int) []exchange) (int, error) {
	var failed error
	n := first + sort.Search(last-first, func(i int) bool {
		tokens, err := c.tokens(conversation(first + i))
		if err != nil {
			failed = err
		}
		return failed != nil || len(tokens) <= limit
	})
	return n, failed
}

func (c *Chat) shiftTokens() (int, error) {
	x := c.last()
	if x == nil || len(x.ids) == 0 {
		return 0, usage.Errorf("there is no answer whose oldest tokens could be dropped")
	}
	tokens, err := c.tokens(c.exchanges)
	if err != nil {
		return 0, err
	}
	kept := 0
	if bos, has := c.tok.BOS(); has && tokens[0] == bos {
		kept = 1
	}
	n := len(tokens) - max(c.Context()/2, kept+1)
	if n <= 0 {
		return 0, usage.Errorf("the context is not half full")
	}
	x.rest, x.dropped = slices.Delete(tokens, kept, kept+n), len(x.ids)
	return n, nil
}

// summaryPrompt asks for a summary.
const summaryPrompt = "Summarize our conversation so far in a few sentences. Keep names, numbers, decisions and open " +
	"questions."

// Summarize makes room as [Chat.Shift] does, but lets the model write a summary of the exchanges that it drops, which
// takes their place. Of what does not fit the context with the summary, the oldest is left out of it. The summary has
// at most an eighth of the context.
func (c *Chat) Summarize(ctx context.Context, show func(text string) error) (dropped int, err error) {
	if !c.chat {
		return 0, usage.Errorf("a summary needs a chat template")
	}
	limit := max(c.Context()/8, 1)
	if dropped, err = c.oldest([]exchange{{prompt: summaryPrompt}}, limit); err != nil {
		return 0, err
	}
	asked := func(first int) []exchange {
		return append(slices.Clone(c.exchanges[first:dropped]), exchange{prompt: summaryPrompt})
	}
	first, err := c.firstFit(0, dropped, c.Context()-limit, asked)
	if err != nil {
		return 0, err
	}
	if first == dropped {
		return 0, usage.Errorf("the context has no room for an exchange and its summary")
	}
	tokens, err := c.tokens(asked(first))
	if err != nil {
		return 0, err
	}
	s := &stream{dec: c.tok.NewDecoder(false), show: show}
	g, err := c.evaluate(ctx, tokens, limit, s)
	s.end()
	addTo(&c.Total, g)
	switch text := strings.TrimSpace(s.text.String()); {
	case err != nil:
		return 0, err
	case s.err != nil:
		return 0, s.err
	case text == "":
		return 0, fmt.Errorf("the model wrote no summary")
	default:
		summary := exchange{prompt: summaryPrompt, answered: true, ids: s.ids, text: text, stop: runtime.StopToken}
		c.exchanges = slices.Replace(c.exchanges, 0, dropped, summary)
		return dropped, nil
	}
}
