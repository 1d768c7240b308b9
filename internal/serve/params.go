package serve

import (
	"encoding/json"
	"math/rand/v2"
	"strconv"

	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/runtime/engine"
	"github.com/phi3conv/phi3conv/runtime/grammar"
)

// params are what completions and chats have in common. Defaults are OpenAI's: a token is drawn by its probability.
type params struct {
	Model         string             `json:"model"`
	N             *int               `json:"n"`
	MaxTokens     *int               `json:"max_tokens"`
	Temperature   *float32           `json:"temperature"`
	TopP          *float32           `json:"top_p"`
	TopK          *int               `json:"top_k"`
	MinP          *float32           `json:"min_p"`
	RepeatPenalty *float32           `json:"repeat_penalty"`
	Seed          *int64             `json:"seed"`
	Stop          oneOrMore[string]  `json:"stop"`
	LogitBias     map[string]float32 `json:"logit_bias"`
	Stream        bool               `json:"stream"`
	StreamOptions *struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
	IgnoreEOS bool `json:"ignore_eos"`
	format

	// Refused, since they change the result.
	PresencePenalty  *float32 `json:"presence_penalty"`
	FrequencyPenalty *float32 `json:"frequency_penalty"`

	restriction *grammar.Automaton // of the answers, nil for none
}

// oneOrMore is a value or a list of them.
type oneOrMore[T any] []T

func (o *oneOrMore[T]) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	var one T
	if json.Unmarshal(b, &one) == nil {
		*o = []T{one}
		return nil
	}
	return json.Unmarshal(b, (*[]T)(o))
}

// Bounds of what a request may ask for.
const (
	mostChoices  = 128
	mostLogprobs = 100
	mostStops    = 64
)

// check refuses what cannot be done.
func (p *params) check() error {
	if n := p.choices(); n < 1 || n > mostChoices {
		return invalid("n", "is %d, expected 1 to %d", n, mostChoices)
	}
	if len(p.Stop) > mostStops {
		return invalid("stop", "has %d strings, expected at most %d", len(p.Stop), mostStops)
	}
	for _, s := range p.Stop {
		if s == "" {
			return invalid("stop", "has an empty string")
		}
	}
	for name, v := range map[string]*float32{
		"presence_penalty": p.PresencePenalty, "frequency_penalty": p.FrequencyPenalty,
	} {
		if v != nil && *v != 0 {
			return invalid(name, "is not supported; repeat_penalty is")
		}
	}
	return nil
}

func (p *params) choices() int {
	if p.N == nil {
		return 1
	}
	return *p.N
}

// sampler makes the sampler of a choice. Without a seed each has another one.
func (p *params) sampler(choice int) (*runtime.Sampler, error) {
	o := runtime.SamplerOptions{Temperature: 1, TopP: 1, RepeatPenalty: 1, Seed: rand.Uint64()}
	set(&o.Temperature, p.Temperature)
	set(&o.TopP, p.TopP)
	set(&o.TopK, p.TopK)
	set(&o.MinP, p.MinP)
	set(&o.RepeatPenalty, p.RepeatPenalty)
	o.TopK = max(o.TopK, 0) // -1 is a usual way to say all
	o.RepeatLastN = runtime.DefaultRepeatLastN
	if p.Seed != nil && *p.Seed >= 0 {
		o.Seed = uint64(*p.Seed) + uint64(choice)
	}
	s, err := runtime.NewSampler(o)
	if err != nil {
		return nil, &apiError{status: 400, Type: "invalid_request_error", Message: err.Error()}
	}
	return s, nil
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// bias returns what is added to logits, which all choices share.
func (p *params) bias(m *Model) (map[int32]float32, error) {
	bias := make(map[int32]float32, len(p.LogitBias))
	for key, b := range p.LogitBias {
		id, err := strconv.ParseInt(key, 10, 32)
		if err != nil || id < 0 || id >= int64(m.VocabSize) {
			return nil, invalid("logit_bias", "key %q is no token id, expected 0 to %d", key, m.VocabSize-1)
		}
		if !(b >= -100 && b <= 100) {
			return nil, invalid("logit_bias", "%v of token %d, expected -100 to 100", b, id)
		}
		bias[int32(id)] = b
	}
	return bias, nil
}

// request makes a request of a prompt.
func (p *params) request(
	m *Model, prompt []int32, bias map[int32]float32, choice, limit int,
) (engine.Request, error) {
	r := engine.Request{Prompt: prompt, MaxTokens: limit, Bias: bias, PromptLogprobs: -1, Logprobs: -1}
	var err error
	if r.Sampler, err = p.sampler(choice); err != nil {
		return r, err
	}
	if !p.IgnoreEOS {
		r.Stop = m.Tokenizer.StopIDs()
	}
	if p.restriction != nil {
		if p.IgnoreEOS {
			return r, invalid("ignore_eos", "an answer in a format has an end")
		}
		r.Constraint = p.restriction.Constraint(r.Stop)
	}
	if m.Lookup {
		r.Draft = append(r.Draft, new(engine.Lookup))
	}
	if m.Draft != nil {
		r.Draft = append(r.Draft, m.Draft.Drafter(r.Sampler))
	}
	return r, nil
}
