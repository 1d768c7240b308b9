// Package verify compares the predictions of a quantized model with those of its original: the metrics
// of each token, their statistics with confidence intervals, and the verdict by thresholds.
package verify

// Schema is the version of the JSON form of a [Report]. It changes when a field
// changes its meaning or goes, not when one is added.
const Schema = 1

// Report is a whole verification, as it is written.
type Report struct {
	Schema      int         `json:"schema"`
	Tool        string      `json:"tool"` // program and version
	Conventions Conventions `json:"conventions"`
	Base        Model       `json:"base"`
	Seal        *Seal       `json:"seal,omitempty"` // absent if the original was there
	Quant       Model       `json:"quant"`
	Compute     Compute     `json:"compute"`
	Texts       []Text      `json:"texts"`
	Tokens      string      `json:"tokens_sha256"`   // of all windows, see [HashWindows]
	Shard       *Shard      `json:"shard,omitempty"` // absent if all windows were evaluated
	Summary     Summary     `json:"summary"`
	ByText      []Group     `json:"by_text"`
	ByContext   []Group     `json:"by_context"`
	Worst       []Token     `json:"worst"`
	Verdict     *Verdict    `json:"verdict,omitempty"` // absent if no thresholds were given

	Baseline *Baseline `json:"baseline,omitempty"` // absent without one
	Weights  *Weights  `json:"weights,omitempty"`  // absent with a seal

	Seen   []Seen `json:"seen,omitempty"`   // texts that the model was calibrated with
	Strict bool   `json:"strict,omitempty"` // fails the report if there are any

	Layers      []LayerKLD `json:"layers,omitempty"`       // absent if not measured
	AllLayers   *LayerKLD  `json:"all_layers,omitempty"`   // the weights of all layers at once, on the same tokens
	LayerTokens int        `json:"layer_tokens,omitempty"` // scored for Layers

	Parts *Parts `json:"parts,omitempty"` // absent if not measured

	Performance *Performance `json:"performance,omitempty"` // absent if it was not measured
	Positions   Positions    `json:"positions,omitempty"`   // of all scored tokens, in report files only
}

// Conventions say which tokens were scored, and after what.
type Conventions struct {
	Name    string `json:"name"`    // "llama-perplexity" or "strided"
	Context int    `json:"context"` // tokens in a window
	Stride  int    `json:"stride"`  // tokens from one window to the next
	First   int    `json:"first"`   // least number of tokens before a scored one in its window
	BOS     bool   `json:"bos"`     // each window begins with the BOS token
}

// Compute says how the quantized model computes. The original computes in float32, with
// keys and values in float32.
type Compute struct {
	Float32 bool   `json:"float32"` // in float32 too
	Cache   string `json:"cache"`   // type of keys and values: "f16", "f32" or "q8_0"
}

// Shard is a part of the windows of a verification: they are numbered through all texts, and
// part I of N has those from (I-1)·W/N up to I·W/N, where W is their number.
type Shard struct {
	I int `json:"i"` // from 1
	N int `json:"n"`
}

// Of returns the part of the windows.
func (s Shard) Of(windows []Window) []Window {
	return windows[(s.I-1)*len(windows)/s.N : s.I*len(windows)/s.N]
}

// Model names a model and pins its weights.
type Model struct {
	Name   string `json:"name"`
	Format string `json:"format"` // of the weights: "BF16", "Q4_K_M", …
	Bytes  int64  `json:"bytes"`  // of the weights
	SHA256 string `json:"sha256"` // hexadecimal

	FileBytes     int64   `json:"file_bytes"`      // of the files with weights
	BitsPerWeight float64 `json:"bits_per_weight"` // of the weights alone
}

// Text names a text and pins its content.
type Text struct {
	Name    string `json:"name"`
	Bytes   int64  `json:"bytes"`
	SHA256  string `json:"sha256"`  // hexadecimal
	Tokens  int    `json:"tokens"`  // in the whole text
	Windows int    `json:"windows"` // that are evaluated, in all shards together
}

// Token is a position with its text.
type Token struct {
	Position
	Before string `json:"before"` // the text just before it
	// Piece is the text of the token itself or, where it is none alone, such as a part of a
	// character, the token as the vocabulary writes it.
	Piece string `json:"piece"`
}

// NewReport summarizes the positions and picks the given number of worst tokens.
// The caller adds the text of those, and all that the positions do not tell. The positions
// themselves are part of the report.
func NewReport(p []Position, texts []Text, worst int) *Report {
	names := make([]string, len(texts))
	for i, t := range texts {
		names[i] = t.Name
	}
	r := &Report{
		Schema: Schema, Texts: texts,
		Summary: Summarize(p), ByText: ByText(p, names), ByContext: ByContext(p),
		Worst: []Token{}, Positions: p,
	}
	for _, w := range Worst(p, worst) {
		r.Worst = append(r.Worst, Token{Position: w})
	}
	return r
}
