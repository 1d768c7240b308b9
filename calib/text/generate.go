package text

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/internal/work"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
)

// GenerateOptions say what text a model writes for its own calibration.
type GenerateOptions struct {
	Tokens      int     // about how many in all
	Length      int     // of a sequence, at most; an answer that ends earlier is shorter
	Temperature float32 // 1 samples from the model's own distribution
	Seed        uint64
	// Memory bounds the keys and values, in bytes, and so how many sequences are written side by
	// side. It does not change the text.
	Memory int64
}

// Parallel is the most sequences that are written side by side; more would hardly be faster. Each gets one token at a
// time, so that a model that is opened for this needs no larger batch.
const Parallel = 64

// openings begin what a user says. The model goes on with the question, and then answers.
var openings = []string{
	"", "What", "How", "Why", "Write", "Explain", "Can you", "I", "Give me", "Translate", "Summarize",
	"Is", "The", "In", "def ", "Calculate", "Compare", "List", "Tell me", "Please",
}

// Generate lets a model write texts: sampled from all tokens, each from one of three starts in turn: the beginning of
// a text (BOS if the tokenizer has one, otherwise a random token), a random token, and where there is a chat
// template, a user's turn that begins with one of various words and is completed and answered by the model itself.
//
// Text that the model writes is of all kinds that it knows, weighted as it weights them, so statistics
// from it fit text of any kind. The result depends on model, tokenizer and options only, if m was
// opened in float32 mode.
func Generate(ctx context.Context, m *runtime.Model, tok *tokenizer.Tokenizer, opt GenerateOptions) ([][]int32, error) {
	if opt.Length < 2 || opt.Length > m.Context() {
		return nil, fmt.Errorf("sequences of %d tokens, expected 2 to %d", opt.Length, m.Context())
	}
	w := writer{m: m, tok: tok, opt: opt, stop: tok.StopIDs()}
	w.readTemplate()
	for id := range int32(m.VocabSize()) {
		if text, err := tok.Decode([]int32{id}, false); err == nil && text != "" {
			w.words = append(w.words, id)
		}
	}
	if len(w.words) == 0 {
		return nil, fmt.Errorf("the vocabulary has no token with a text")
	}
	group := min(Parallel, int(opt.Memory/max(1, m.CacheBytes(opt.Length))))
	if group < 1 {
		return nil, fmt.Errorf("keys and values of %d tokens take %d bytes, %d are allowed",
			opt.Length, m.CacheBytes(opt.Length), opt.Memory)
	}
	w.most = group
	return w.run(ctx)
}

type writer struct {
	m     *runtime.Model
	tok   *tokenizer.Tokenizer
	opt   GenerateOptions
	words []int32 // tokens with a text
	stop  []int32
	chat  string    // what comes before a user's words; "" if there is no template
	reply []int32   // what comes between them and the answer
	most  int       // sequences that are written side by side
	texts []*sample // all that have been begun, in order
}

// sample is a text that is written.
type sample struct {
	tokens  []int32
	asks    bool              // a user's turn is being written
	seq     *runtime.Sequence // nil once nothing more is to be written
	sampler *runtime.Sampler
	logits  []float32 // after the last token
}

// readTemplate finds out what the chat template puts around a user's words.
func (w *writer) readTemplate() {
	const mark = "MARK"
	if !w.tok.HasTemplate() {
		return
	}
	text, err := w.tok.Chat([]tokenizer.Message{{Role: "user", Content: mark}}, true, "")
	if err != nil {
		return // it demands something else: the other starts remain
	}
	var reply string
	w.chat, reply, _ = strings.Cut(text, mark)
	w.reply = w.tok.Encode(reply, tokenizer.EncodeOptions{ParseSpecial: true})
}

// start returns the first tokens of sequence i, and whether they are a user's turn.
func (w *writer) start(i int, r *rand.Rand) (tokens []int32, chat bool) {
	word := w.words[r.IntN(len(w.words))]
	opening := openings[r.IntN(len(openings))]
	if bos, ok := w.tok.BOS(); ok {
		tokens = append(tokens, bos)
	}
	switch {
	case i%3 == 0 && len(tokens) > 0:
		return tokens, false
	case i%3 == 2 && w.chat != "":
		chat := w.tok.Encode(w.chat+opening, tokenizer.EncodeOptions{ParseSpecial: true})
		if len(chat) > 0 && len(chat) < w.opt.Length {
			return chat, true
		}
	}
	return append(tokens, word), false
}

// least is how many sequences are written side by side at least, even if the last ones may turn out not to be needed:
// with so few, reading the weights takes the time, not multiplying.
const least = 8

// run writes all texts. These are the sequences in order, up to the wanted number of tokens, where the last one is cut.
// What a sequence becomes does not depend on the others, so new ones begin as soon as others have ended.
func (w *writer) run(ctx context.Context) ([][]int32, error) {
	defer func() {
		for _, t := range w.texts {
			t.end()
		}
	}()
	for {
		open := w.needed()
		for {
			expected := 0 // tokens, if all that are being written become as long as they may
			for _, t := range w.texts {
				expected += w.length(t)
			}
			if w.complete() || len(open) >= w.most || expected >= w.opt.Tokens && len(open) >= min(least, w.most) {
				break
			}
			t, err := w.begin(len(w.texts))
			if err != nil {
				return nil, err
			}
			w.texts, open = append(w.texts, t), append(open, t)
		}
		if len(open) == 0 {
			return w.result(), nil
		}
		if err := w.step(ctx, open); err != nil {
			return nil, err
		}
	}
}

// length returns how long a text becomes at most.
func (w *writer) length(t *sample) int {
	if t.seq != nil {
		return w.opt.Length
	}
	return t.counted()
}

// counted returns what a text adds to the wanted tokens as it is: one of a single token is left out.
func (t *sample) counted() int {
	if len(t.tokens) < 2 {
		return 0
	}
	return len(t.tokens)
}

func (t *sample) end() {
	if t.seq != nil {
		t.seq.Free()
		t.seq, t.logits = nil, nil
	}
}

// complete reports whether the texts that have been begun have all tokens, as far as they are written.
func (w *writer) complete() bool {
	total := 0
	for _, t := range w.texts {
		total += t.counted()
	}
	return total > w.opt.Tokens-2 // a text has at least two tokens
}

// needed returns the texts that are still written, and ends those that need not go on: what comes before them only
// becomes longer.
func (w *writer) needed() (open []*sample) {
	total := 0
	for _, t := range w.texts {
		if total+len(t.tokens) >= w.opt.Tokens || total > w.opt.Tokens-2 {
			t.end()
		}
		if t.seq != nil {
			open = append(open, t)
		}
		total += t.counted()
	}
	return open
}

// result returns the texts' tokens.
func (w *writer) result() (all [][]int32) {
	left := w.opt.Tokens
	for _, t := range w.texts {
		if n := min(t.counted(), left); n > 1 {
			all = append(all, t.tokens[:n])
			left -= n
		}
	}
	return all
}

// begin begins sequence i.
func (w *writer) begin(i int) (*sample, error) {
	seed := w.opt.Seed + uint64(i)<<32
	t := &sample{}
	t.tokens, t.asks = w.start(i, rand.New(rand.NewPCG(seed, 1)))
	var err error
	t.sampler, err = runtime.NewSampler(runtime.SamplerOptions{Temperature: w.opt.Temperature, TopP: 1, Seed: seed})
	if err != nil {
		return nil, err
	}
	t.seq, err = w.m.NewSequence(w.opt.Length)
	return t, err
}

// step adds a token to each text. Logits are kept, so that threads choose tokens side by side.
func (w *writer) step(ctx context.Context, open []*sample) error {
	requests := make([]runtime.Request, len(open))
	for i, t := range open {
		requests[i] = runtime.Request{
			Seq: t.seq, Tokens: t.tokens[len(t.seq.Tokens()):],
			Logits: func(_ int, logits []float32) error {
				t.logits = append(t.logits[:0], logits...)
				return nil
			},
		}
	}
	if err := w.m.Eval(ctx, requests...); err != nil {
		return err
	}
	work.Each(w.m.Threads(), len(open), func(i int) { w.add(open[i]) })
	return nil
}

// add adds the next token to a text.
func (w *writer) add(t *sample) {
	id := t.sampler.Sample(t.logits, nil)
	stops := slices.Contains(w.stop, id)
	if stops && t.asks { // the question ends, and the answer begins
		t.asks, stops = false, false
		t.tokens = append(t.tokens, w.reply...)
	} else {
		t.tokens = append(t.tokens, id)
	}
	if len(t.tokens) >= w.opt.Length {
		t.tokens, stops = t.tokens[:w.opt.Length], true
	}
	if stops {
		t.end()
	}
}
