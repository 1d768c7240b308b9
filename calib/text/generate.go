package text

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

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
	var all [][]int32
	for first, total := 0, 0; total < opt.Tokens; {
		n := min(group, (opt.Tokens-total+opt.Length-1)/opt.Length)
		texts, err := w.write(ctx, first, n)
		if err != nil {
			return nil, err
		}
		first += n
		for _, t := range texts {
			if t = t[:min(len(t), opt.Tokens-total)]; len(t) > 1 {
				all = append(all, t)
				total += len(t)
			}
		}
	}
	return all, nil
}

type writer struct {
	m     *runtime.Model
	tok   *tokenizer.Tokenizer
	opt   GenerateOptions
	words []int32 // tokens with a text
	stop  []int32
	chat  string  // what comes before a user's words; "" if there is no template
	reply []int32 // what comes between them and the answer
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

// write writes sequences first to first+n-1 side by side.
func (w *writer) write(ctx context.Context, first, n int) ([][]int32, error) {
	requests := make([]runtime.Request, n)
	texts := make([][]int32, n)
	done := make([]bool, n)
	for i := range requests {
		seed := w.opt.Seed + uint64(first+i)<<32
		var asks bool
		texts[i], asks = w.start(first+i, rand.New(rand.NewPCG(seed, 1)))
		sampler, err := runtime.NewSampler(runtime.SamplerOptions{Temperature: w.opt.Temperature, TopP: 1, Seed: seed})
		if err != nil {
			return nil, err
		}
		seq, err := w.m.NewSequence(w.opt.Length)
		if err != nil {
			return nil, err
		}
		defer seq.Free()
		requests[i] = runtime.Request{Seq: seq, Logits: func(_ int, logits []float32) error {
			id := sampler.Sample(logits, nil)
			switch stops := slices.Contains(w.stop, id); {
			case stops && asks: // the question ends, and the answer begins
				asks = false
				texts[i] = append(texts[i], w.reply...)
			default:
				texts[i] = append(texts[i], id)
				done[i] = stops
			}
			if len(texts[i]) >= w.opt.Length {
				texts[i], done[i] = texts[i][:w.opt.Length], true
			}
			return nil
		}}
	}
	for {
		var open []runtime.Request
		for i, r := range requests {
			if !done[i] {
				r.Tokens = texts[i][len(r.Seq.Tokens()):]
				open = append(open, r)
			}
		}
		if len(open) == 0 {
			return texts, nil
		}
		if err := w.m.Eval(ctx, open...); err != nil {
			return nil, err
		}
	}
}
