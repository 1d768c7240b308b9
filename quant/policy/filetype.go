package policy

import (
	"fmt"
	"strings"

	"github.com/phi3conv/phi3conv/quant"
)

// FileType is a mixture that gives each tensor of a model its type, under
// llama.cpp's names, such as "Q4_K_M".
type FileType uint8

// The file types. Their order is this package's own: files carry the number
// that [FileType.GGUF] returns.
const (
	AllF32 FileType = iota
	MostlyF16
	MostlyBF16
	MostlyQ4_0
	MostlyQ4_1
	MostlyQ5_0
	MostlyQ5_1
	MostlyQ8_0
	MostlyQ2_K
	MostlyQ3_K_S
	MostlyQ3_K_M
	MostlyQ3_K_L
	MostlyQ4_K_S
	MostlyQ4_K_M
	MostlyQ5_K_S
	MostlyQ5_K_M
	MostlyQ6_K
	MostlyIQ4_NL
	MostlyIQ4_XS
	MostlyIQ2_XS
	MostlyIQ2_S
	MostlyIQ2_M
	MostlyIQ3_XXS
	MostlyIQ3_XS
	MostlyIQ3_S
	MostlyIQ3_M
)

// fileType is one row of the table of file types.
type fileType struct {
	name   string
	gguf   uint32     // general.file_type
	base   quant.Type // of matrices for which there is no rule
	output quant.Type // of the output matrix, even where the embedding is it
	rules  rules
}

// fileTypes is the table of file types. Their rules are those of llama.cpp: tensors whose error costs most get more
// bits.
var fileTypes = [...]fileType{
	AllF32:     {"F32", 0, quant.F32, quant.F32, nil},
	MostlyF16:  {"F16", 1, quant.F16, quant.F16, nil},
	MostlyBF16: {"BF16", 32, quant.BF16, quant.BF16, nil},
	MostlyQ4_0: {"Q4_0", 2, quant.Q4_0, quant.Q6_K, rules{ffnDown: {{quant.Q4_1, firstEighthWithImportance}}}},
	MostlyQ4_1: {"Q4_1", 3, quant.Q4_1, quant.Q6_K, nil},
	MostlyQ5_0: {"Q5_0", 8, quant.Q5_0, quant.Q6_K, rules{ffnDown: {{quant.Q5_1, firstEighthWithImportance}}}},
	MostlyQ5_1: {"Q5_1", 9, quant.Q5_1, quant.Q6_K, nil},
	MostlyQ8_0: {"Q8_0", 7, quant.Q8_0, quant.Q8_0, nil},
	MostlyQ2_K: {"Q2_K", 10, quant.Q2_K, quant.Q6_K, rules{
		attnV:      {{quant.Q4_K, fourHeadsAKey}, {quant.Q3_K, always}},
		attnOutput: {{quant.Q5_K, eightExperts}, {quant.Q3_K, always}},
		ffnDown:    {{quant.Q3_K, always}},
	}},
	MostlyQ3_K_S: {"Q3_K_S", 11, quant.Q3_K, quant.Q6_K, rules{attnOutput: {{quant.Q5_K, eightExperts}}}},
	MostlyQ3_K_M: {"Q3_K_M", 12, quant.Q3_K, quant.Q6_K, rules{
		attnV:      {{quant.Q5_K, firstLayers(2)}, {quant.Q4_K, always}},
		attnOutput: {{quant.Q5_K, eightExperts}, {quant.Q4_K, always}},
		ffnDown:    {{quant.Q5_K, firstSixteenth}, {quant.Q4_K, always}},
	}},
	MostlyQ3_K_L: {"Q3_K_L", 13, quant.Q3_K, quant.Q6_K, rules{
		attnV:      {{quant.Q5_K, always}},
		attnOutput: {{quant.Q3_K, eightExperts}, {quant.Q5_K, always}},
		ffnDown:    {{quant.Q5_K, always}},
	}},
	MostlyQ4_K_S: {"Q4_K_S", 14, quant.Q4_K, quant.Q6_K, rules{
		attnV:      {{quant.Q5_K, firstLayers(4)}},
		attnOutput: {{quant.Q5_K, eightExperts}},
		ffnDown:    {{quant.Q5_K, firstEighth}},
	}},
	MostlyQ4_K_M: {"Q4_K_M", 15, quant.Q4_K, quant.Q6_K, rules{
		attnV:      {{quant.Q6_K, endsAndThirds}},
		attnOutput: {{quant.Q5_K, eightExperts}},
		ffnDown:    {{quant.Q6_K, endsAndThirds}},
	}},
	MostlyQ5_K_S: {"Q5_K_S", 16, quant.Q5_K, quant.Q6_K, nil},
	MostlyQ5_K_M: {"Q5_K_M", 17, quant.Q5_K, quant.Q6_K, rules{
		attnV:   {{quant.Q6_K, endsAndThirds}},
		ffnDown: {{quant.Q6_K, endsAndThirds}},
	}},
	MostlyQ6_K: {"Q6_K", 18, quant.Q6_K, quant.Q6_K, nil},
	MostlyIQ4_NL: {"IQ4_NL", 25, quant.IQ4_NL, quant.Q6_K, rules{
		attnV:      {{quant.Q5_K, fourHeadsAKey}},
		attnOutput: {{quant.Q5_K, eightExperts}},
		ffnDown:    {{quant.Q5_K, firstEighthWithoutImportance}},
	}},
	MostlyIQ4_XS: {"IQ4_XS", 30, quant.IQ4_XS, quant.Q6_K, rules{
		attnV:      {{quant.Q5_K, fourHeadsAKey}},
		attnOutput: {{quant.Q5_K, eightExperts}},
		ffnDown:    {{quant.Q5_K, firstEighthWithoutImportance}},
	}},
	MostlyIQ2_XS: {"IQ2_XS", 20, quant.IQ2_XS, quant.Q5_K, rules{
		embedding:  {{quant.Q2_K, always}},
		attnV:      {{quant.Q4_K, fourHeadsAKey}, {quant.Q4_K, fourExperts}, {quant.Q2_K, always}},
		attnK:      {{quant.Q4_K, eightExperts}},
		attnOutput: {{quant.Q5_K, eightExperts}},
		ffnDown:    {{quant.Q2_K, firstEighth}},
	}},
	MostlyIQ2_S: {"IQ2_S", 28, quant.IQ2_XS, quant.Q5_K, iq2Rules},
	MostlyIQ2_M: {"IQ2_M", 29, quant.IQ2_S, quant.Q5_K, iq2Rules},
	MostlyIQ3_XXS: {"IQ3_XXS", 23, quant.IQ3_XXS, quant.Q5_K, rules{
		embedding:  {{quant.IQ3_S, always}},
		attnV:      {{quant.Q4_K, fourHeadsAKey}, {quant.IQ3_S, withoutImportance}},
		attnK:      {{quant.IQ2_S, always}},
		attnQ:      {{quant.IQ2_S, always}},
		attnOutput: {{quant.Q5_K, eightExperts}, {quant.IQ3_S, always}},
		ffnDown:    {{quant.Q4_K, firstEighthWithoutImportance}, {quant.Q3_K, withoutImportance}},
	}},
	MostlyIQ3_XS: {"IQ3_XS", 22, quant.IQ3_S, quant.Q6_K, rules{
		attnV:      {{quant.Q4_K, fourHeadsAKey}},
		attnK:      {{quant.IQ3_XXS, always}},
		attnQ:      {{quant.IQ3_XXS, always}},
		attnOutput: {{quant.Q5_K, eightExperts}},
		ffnGate:    {{quant.IQ3_XXS, betweenEighths}},
		ffnUp:      {{quant.IQ3_XXS, betweenEighths}},
	}},
	MostlyIQ3_S: {"IQ3_S", 26, quant.IQ3_S, quant.Q6_K, rules{
		attnV:      {{quant.Q4_K, fourHeadsAKey}},
		attnOutput: {{quant.Q5_K, eightExperts}},
	}},
	MostlyIQ3_M: {"IQ3_M", 27, quant.IQ3_S, quant.Q6_K, rules{
		attnV:      {{quant.Q4_K, always}},
		attnOutput: {{quant.Q5_K, eightExperts}, {quant.Q4_K, always}},
		ffnDown:    {{quant.Q4_K, firstEighth}, {quant.Q4_K, endsAndThirdsOfEightExperts}},
	}},
}

// iq2Rules are those of IQ2_S and IQ2_M.
var iq2Rules = rules{
	embedding:  {{quant.IQ3_S, always}},
	attnV:      {{quant.Q4_K, fourHeadsAKey}, {quant.Q4_K, fourExperts}, {quant.IQ3_S, always}},
	attnK:      {{quant.Q4_K, eightExperts}},
	attnOutput: {{quant.Q5_K, eightExperts}, {quant.IQ3_S, always}},
	ffnDown:    {{quant.IQ3_S, firstEighth}},
}

// fallbacks are the types that take over from those with blocks of 256 where these do not divide a row.
var fallbacks = map[quant.Type]quant.Type{
	quant.Q2_K: quant.Q4_0, quant.Q3_K: quant.Q4_0, quant.Q4_K: quant.Q5_0,
	quant.Q5_K: quant.Q5_1, quant.Q6_K: quant.Q8_0, quant.IQ4_XS: quant.IQ4_NL,
	quant.IQ3_S: quant.IQ4_NL, quant.IQ3_XXS: quant.IQ4_NL, quant.IQ2_S: quant.IQ4_NL, quant.IQ2_XS: quant.IQ4_NL,
}

// fileTypeAliases are llama-quantize's short names.
var fileTypeAliases = map[string]FileType{
	"Q3_K": MostlyQ3_K_M, "Q4_K": MostlyQ4_K_M, "Q5_K": MostlyQ5_K_M,
}

// FileTypes lists every file type.
func FileTypes() []FileType {
	all := make([]FileType, len(fileTypes))
	for i := range all {
		all[i] = FileType(i)
	}
	return all
}

// String returns llama.cpp's name.
func (f FileType) String() string { return fileTypes[f].name }

// GGUF returns the number that general.file_type holds.
func (f FileType) GGUF() uint32 { return fileTypes[f].gguf }

// Type returns the type of most tensors.
func (f FileType) Type() quant.Type { return fileTypes[f].base }

// FileTypeNames lists the names, separated by spaces.
func FileTypeNames() string {
	var names []string
	for _, f := range fileTypes {
		names = append(names, f.name)
	}
	return strings.Join(names, " ")
}

// FileTypeByName finds a file type by its name in any case, or by llama.cpp's
// aliases Q3_K, Q4_K and Q5_K for the _M mixtures.
func FileTypeByName(name string) (FileType, error) {
	for i := range fileTypes {
		if strings.EqualFold(fileTypes[i].name, name) {
			return FileType(i), nil
		}
	}
	if f, ok := fileTypeAliases[strings.ToUpper(name)]; ok {
		return f, nil
	}
	if t, err := quant.ByName(name); err == nil {
		if err := t.CheckWrite(); err != nil {
			return 0, err
		}
	}
	return 0, fmt.Errorf("unknown file type %q; known: %s", name, FileTypeNames())
}

// FileTypeByGGUF finds a file type by the number that general.file_type holds.
func FileTypeByGGUF(n uint64) (f FileType, ok bool) {
	for i := range fileTypes {
		if uint64(fileTypes[i].gguf) == n {
			return FileType(i), true
		}
	}
	return 0, false
}
