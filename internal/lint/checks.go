package lint

import (
	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/formats/safetensors"
	"github.com/phi3conv/phi3conv/quant"
)

// Fixes that several checks share.
const (
	reconvert = "Convert the original checkpoint again with phi3conv convert."
	download  = "Download the file again and compare its size or SHA-256 with the publisher's."
)

// checks is the table of checks, in the order of their codes: a new one is a
// function and a line here. Codes are never used again for something else.
//
// 1xx the files, 2xx the configuration, 3xx RoPE and attention, 4xx the
// tokenizer, 5xx stop ids and chat template, 6xx the list of tensors, 7xx their values.
var checks = []check{
	{Check{"PHI101", Error, "the file ends early",
		"Its header announces more bytes than there are: a download or copy that stopped, or a full disk.",
		download}, 0, broken(gguf.ErrTruncated, safetensors.ErrTruncated)},
	{Check{"PHI102", Error, "tensor data is unaligned",
		"Runtimes map the file into memory and compute on it in place, which needs aligned data; llama.cpp refuses " +
			"the file.",
		"Make the file again with a current version of the tool that wrote it, or with phi3conv convert."}, 0,
		broken(gguf.ErrUnaligned)},
	{Check{"PHI103", Error, "tensors overlap",
		"Two tensors claim the same bytes, so at least one of them is not what was saved.",
		reconvert + " If it is a download, download it again."}, 0, broken(gguf.ErrOverlap, safetensors.ErrOverlap)},
	{Check{"PHI104", Error, "bytes belong to no tensor",
		"The safetensors format has no gaps: a tensor is missing from the header, or its offsets are wrong.",
		download}, 0, broken(safetensors.ErrGap)},
	{Check{"PHI105", Error, "files of the model are missing or do not belong together",
		"The weights are one or more files; one is missing, is of another conversion, or is not in the safetensors " +
			"format.",
		"Put all parts of one model, under their original names, into one directory."},
		0, broken(gguf.ErrSplit, safetensors.ErrIndex, safetensors.ErrNoWeights)},
	{Check{"PHI106", Error, "the version of the format is not supported",
		"Only GGUF versions 2 and 3 in little-endian byte order are in use; current runtimes refuse the others too.",
		"Convert the original checkpoint again."}, 0, unsupportedVersion},
	{Check{"PHI107", Error, "the file breaks its format",
		"Runtimes refuse such a file, or read something else than was saved.",
		download}, 0, broken()},
	{Check{"PHI108", Warning, "phi3conv cannot check this file: it has a tensor type that is not read",
		"Runtimes may read the type, if it is a newer one; nothing of this file but its format was checked.",
		"Check the checkpoint, or a file that was made of it, of the types " + quant.TypeNames() + "."},
		0, unsupportedType},

	{Check{"PHI201", Error, "the architecture is not supported",
		"Only the models of the Phi family are known here; the checks that need its shapes were left out.",
		"For another architecture use the tools of its runtime."}, 0, unsupportedArchitecture},
	{Check{"PHI202", Error, "the configuration is missing or invalid",
		"It holds the numbers that define the model; one is missing, out of range or contradicts another.",
		"Restore config.json from the publisher; for a GGUF file, convert the original checkpoint again."}, 0,
		invalidConfig},
	{Check{"PHI203", Warning, "the quantization version is missing",
		"general.quantization_version says which layout the blocks have; a file with quantized tensors must have it.",
		"phi3conv quantize IN.gguf OUT.gguf TYPE, with the type that the file has, copies the tensors and sets the " +
			"key to 2."}, inGGUF | metadata | tensors, quantizationVersion},
	{Check{"PHI204", Warning, "general.file_type does not fit the tensors",
		"Programs show this key as the file's quantization; users compare files by it.",
		"If the tensors are as intended, set the key: gguf-set-metadata FILE.gguf general.file_type NUMBER (from the " +
			"PyPI package gguf)."},
		inGGUF | metadata | tensors | config, fileType},
	{Check{"PHI205", Info, "keys are left out that readers are expected to know",
		"Older and other converters leave them to llama.cpp, which ends answers at tokens by their text and knows " +
			"numbers of the published models. phi3conv assumes the same; a runtime that goes by the keys alone does " +
			"not.",
		reconvert + " It writes all of them."},
		inGGUF | config | tensors, leftOut},
	{Check{"PHI206", Info, "llama.cpp does not load this file",
		"The file is in order, and phi3conv runs it; llama.cpp has no such model, or none of this shape.",
		"Run it with phi3conv."}, inGGUF | metadata | tensors | config, notInLlama},

	{Check{"PHI301", Error, "LongRoPE factors are missing",
		"The model was trained with a factor for each frequency. Without the tensors a runtime turns heads by the " +
			"plain angles, and output degrades, most beyond the original context. " +
			"llama.cpp's converter left them out silently for configs with rope_parameters (llama.cpp#24820).",
		"Convert again with phi3conv convert, which reads rope_scaling and rope_parameters."},
		inGGUF | config | tensors, longRopeFactors},
	{Check{"PHI302", Error, "rope_scaling is missing in the config of a long-context model",
		"Without the LongRoPE factors the model works, badly, as a short-context model.",
		"Restore rope_scaling (or rope_parameters of transformers 5) with short_factor and long_factor from the " +
			"publisher's config.json."},
		inCheckpoint | config, longRopeConfig},
	{Check{"PHI303", Error, "the LongRoPE attention factor is missing",
		"It multiplies attention at every length, also below the original context; runtimes take 1 instead, and " +
			"output differs from the first token on.",
		reconvert + " With llama.cpp until then: --override-kv phi3.rope.scaling.attn_factor=float:VALUE."},
		inGGUF | config | tensors, attnFactorMissing},
	{Check{"PHI304", Warning, "the LongRoPE attention factor is not the usual one",
		"The published models use sqrt(1 + ln(context/original)/ln(original)). Another value is right only if the " +
			"checkpoint's config sets it.",
		"Compare with attention_factor and factor in the checkpoint's rope_scaling; if they are absent, convert " +
			"again."},
		inGGUF | config, attnFactorValue},
	{Check{"PHI305", Error, "LongRoPE factors do not fit the rotary dimensions",
		"There is one factor for each pair of rotary dimensions. llama.cpp refuses the file; a runtime that does not " +
			"check turns the wrong dimensions.",
		reconvert + " The number of rotary dimensions is head dimension × partial_rotary_factor, 96 for Phi-4-mini."},
		inGGUF | config, factorCount},
	{Check{"PHI306", Warning, "fewer rotary dimensions than the head has",
		"Of the Phi-3 models only Phi-4-mini turns a part of each head, and it has LongRoPE factors, which this " +
			"file has not.",
		"Check partial_rotary_factor in the checkpoint's config.json; if it is absent, the key must be the head " +
			"dimension."},
		inGGUF | config | tensors, partialRotary},
	{Check{"PHI307", Error, "the original context length is missing",
		"It says from which length on the long factors apply. llama.cpp takes the full context instead, and then " +
			"never uses them.",
		reconvert + " With llama.cpp until then: --override-kv phi3.rope.scaling.original_context_length=int:4096, " +
			"the value of the published 128k models."}, inGGUF | config, originalContext},
	{Check{"PHI308", Error, "the sliding window is lost",
		"Phi-3-mini-4k, Phi-3-medium-4k, Phi-mini-MoE and Phi-tiny-MoE have a window of 2047 tokens. A runtime that " +
			"is not told so lets tokens attend to all before them, and output turns to garbage after about 2000. " +
			"(llama.cpp ignores the window since May 2025; others do not.)",
		"Set sliding_window to 2047 in config.json; for a GGUF file, convert the original checkpoint again."}, config,
		slidingWindow},
	{Check{"PHI309", Error, "a LongRoPE factor is not a positive number",
		"Frequencies are divided by the factors.",
		reconvert}, inGGUF | tensors, factorValues},
	{Check{"PHI310", Warning, "the configuration contradicts itself",
		"transformers takes rope_scaling where rope_parameters says something else, and what is in either where the " +
			"top of the file says something else; phi3conv does the same, other programs may not.",
		"Remove the part of config.json that does not count, or restore the publisher's config.json."},
		inCheckpoint | config, contradictions},
	{Check{"PHI311", Warning, "the LongRoPE attention factor is the formula's, not the model's",
		"llama.cpp's converter computes it from the contexts. Phi-3.5-MoE's config.json has short_mscale and " +
			"long_mscale, which it leaves out; with another factor every prediction differs a little.",
		reconvert}, inGGUF | metadata | config, convertedFactor},

	{Check{"PHI401", Error, "the tokenizer is missing or cannot be read",
		"Without it no text can be given to the model.",
		"Restore tokenizer.json or tokenizer.model and tokenizer_config.json from the publisher; for a GGUF file, " +
			"convert again."}, 0, noTokenizer},
	{Check{"PHI402", Error, "the number of tokens is not the number of embedding rows",
		"llama.cpp refuses the file. It happens when tokens were added without resizing the model, or padding rows " +
			"were cut.",
		"Make both equal: unused rows need tokens of type UNUSED, which phi3conv convert adds."},
		inGGUF | tokens | tensors, tokenCount},
	{Check{"PHI403", Error, "token types or scores are wrong",
		"Each token needs a type, and in a SentencePiece vocabulary a score; llama.cpp refuses shorter lists.",
		reconvert}, inGGUF | tokens, typesAndScores},
	{Check{"PHI404", Error, "tokens occur twice",
		"Runtimes look tokens up by their text; llama.cpp aborts on a repeated one.",
		reconvert + " Padding tokens need distinct names."}, inGGUF | tokens, duplicateTokens},
	{Check{"PHI405", Error, "merges do not fit the vocabulary",
		"Byte-level BPE builds tokens by merging pairs; a merge of unknown tokens is never used, and llama.cpp " +
			"refuses a file without merges.",
		reconvert + " Vocabulary and merges must be of one model."}, inGGUF | tokens, badMerges},
	{Check{"PHI406", Error, "the pre-tokenizer is not named",
		"tokenizer.ggml.pre says how text is split before merging. With the default, llama.cpp warns that quality " +
			"will be degraded: numbers and words get other tokens than in training.",
		"Set it to dbrx for Phi-4 or gpt-4o for Phi-4-mini: gguf-new-metadata --pre-tokenizer NAME IN.gguf OUT.gguf " +
			"(from the PyPI package gguf)."},
		inGGUF | tokens, preTokenizer},
	{Check{"PHI407", Warning, "general.name does not contain \"Phi-3\"",
		"llama.cpp drops the white space after chat tokens, as this tokenizer demands, only if the name contains " +
			"phi-3 or phi3; otherwise each turn begins with a stray newline token. " +
			"Its own converter writes \"Phi 3 Mini 4k Instruct\", with a space, for the directory " +
			"Phi-3-mini-4k-instruct of the hub, so many published files lack it.",
		"phi3conv convert --model-name \"Phi-3 Mini 4k Instruct\", or gguf-new-metadata --general-name \"Phi-3 Mini " +
			"4k Instruct\" IN.gguf OUT.gguf."},
		inGGUF | metadata | tokens, nameWithoutPhi3},
	{Check{"PHI408", Error, "general.name contains \"Phi-3\" but the vocabulary is another",
		"For a name with phi-3 or phi3 llama.cpp looks up <unk>, <s>, </s> and <|endoftext|>, and fails to load the " +
			"model if one is missing.",
		"Rename the model: gguf-new-metadata --general-name NAME IN.gguf OUT.gguf, or phi3conv convert --model-name " +
			"NAME."},
		inGGUF | metadata | tokens, nameWithPhi3},
	{Check{"PHI409", Error, "a chat token has the wrong type",
		"Only tokens of the types CONTROL and USER_DEFINED are found in a text as a whole; this one is cut into " +
			"pieces that the model does not know as a turn.",
		"Mark it as special in tokenizer_config.json and convert again."}, inGGUF | tokens, chatTokenTypes},
	{Check{"PHI410", Warning, "the tokens that the model never predicts are not those of its vocabulary",
		"Phi-3-small's published code masks special tokens that were not trained. A runtime that goes by this list " +
			"alone may choose them, or hides others.",
		reconvert}, inGGUF | metadata | config | tokens, maskedTokens},
	{Check{"PHI411", Warning, "the files of the tokenizer disagree",
		"Programs that read another of the files than transformers does give texts other tokens. phi3conv follows " +
			"transformers: tokenizer.json comes first.",
		"Remove the file that is out of date, or save the tokenizer again with save_pretrained of transformers."},
		inCheckpoint | config, tokenizerFiles},

	{Check{"PHI501", Error, "no end-of-text token",
		"Without tokenizer.ggml.eos_token_id llama.cpp takes id 2 or 11, and the model does not stop where it should.",
		"gguf-new-metadata --special-token eos \"<|endoftext|>\" IN.gguf OUT.gguf, or for a checkpoint set eos_token " +
			"in tokenizer_config.json."}, tokens, noEOS},
	{Check{"PHI502", Error, "a special id is outside the vocabulary",
		"There is no such token; runtimes ignore the id or crash.",
		"Correct the id: gguf-new-metadata --special-token-by-id ROLE ID IN.gguf OUT.gguf, or convert again."}, tokens,
		idRange},
	{Check{"PHI503", Warning, "the token that ends a turn is no stop id",
		"llama.cpp stops at it because it knows its name. A runtime that goes by the file's ids alone generates the " +
			"user's next turn itself.",
		"gguf-new-metadata --special-token eot TOKEN IN.gguf OUT.gguf; phi3conv convert writes all stop ids of " +
			"generation_config.json."},
		inGGUF | tokens, turnEndGGUF},
	{Check{"PHI504", Error, "the token that ends a turn is no stop id",
		"transformers stops at the ids of generation_config.json only; without this one the model goes on and writes " +
			"the user's next turn itself.",
		"Add its id to the list eos_token_id in generation_config.json: [32000, 32001, 32007] for Phi-3 and Phi-3.5, " +
			"[100257, 100265] for Phi-4, [199999, 200020] for Phi-4-mini."},
		inCheckpoint | tokens, turnEndCheckpoint},
	{Check{"PHI505", Info, "a token that may end the output is no stop id",
		"<|endoftext|> means the end of the text, and Phi-3's generation_config.json lists <|assistant|> too. " +
			"llama.cpp stops at the former by its name, but not at the latter.",
		"Add its id to eos_token_id in generation_config.json and convert with phi3conv convert, which keeps all of " +
			"them."}, tokens, otherEnds},
	{Check{"PHI506", Warning, "special ids of Phi-4's first release",
		"The first files of Phi-4 had <|endoftext|> as eos and pad; Microsoft later set eos to <|im_end|> and gave " +
			"pad a token of its own. With the old ids chats do not stop, and fine-tuning unlearns to stop.",
		"Take tokenizer_config.json, special_tokens_map.json and generation_config.json of the current release; for " +
			"a GGUF file, gguf-new-metadata --special-token eos \"<|im_end|>\"."},
		tokens, phi4FirstRelease},
	{Check{"PHI507", Info, "the padding token also ends a turn",
		"It does not matter for inference. Fine-tuning tools mask padding in the loss, so a model tuned with these " +
			"ids unlearns to end its turn.",
		"Before fine-tuning choose a pad_token that is used for nothing else."}, tokens, padEndsTurn},
	{Check{"PHI508", Warning, "there is no chat template",
		"The vocabulary has chat tokens, but runtimes must guess how to use them; many fall back on a format that " +
			"this model was not trained on.",
		"Add chat_template to tokenizer_config.json and convert again, or gguf-new-metadata --chat-template-config " +
			"tokenizer_config.json IN.gguf OUT.gguf; with llama.cpp, --chat-template phi3 works too."},
		tokens, noTemplate},
	{Check{"PHI509", Error, "the chat template is for another tokenizer",
		"None of its chat tokens is in the vocabulary: they reach the model as plain characters.",
		"Replace the template by the publisher's: gguf-new-metadata --chat-template-config tokenizer_config.json " +
			"IN.gguf OUT.gguf."}, tokens, otherTemplate},
	{Check{"PHI510", Warning, "the chat template uses a token that the vocabulary lacks",
		"It reaches the model as plain characters.",
		"Use the template and the tokenizer of the same release."}, tokens, templateTokens},
	{Check{"PHI511", Info, "the chat template drops system messages",
		"Phi-3-medium's template has no system role: what is sent under it is lost without an error.",
		"Put instructions into the first user message, or extend the template."}, tokens, dropsSystem},
	{Check{"PHI512", Warning, "the beginning-of-text token is added twice",
		"The chat template writes it, and add_bos_token (true by default for this tokenizer) puts another in front. " +
			"llama.cpp's chat removes one; other runtimes do not.",
		"Set add_bos_token to false in tokenizer_config.json and convert again; at run time, --override-kv " +
			"tokenizer.ggml.add_bos_token=bool:false."},
		inGGUF | tokens | metadata, doubleBOS},
	{Check{"PHI513", Error, "a token is to be added that is not defined",
		"add_bos_token or add_eos_token is true but there is no such id; llama.cpp takes a default that means " +
			"something else here.",
		"Set the flag to false, or define the token in tokenizer_config.json, and convert again."}, tokens | metadata,
		addUndefined},
	{Check{"PHI514", Warning, "an end-of-text token is added to every prompt",
		"The model then answers to a text that has ended.",
		"Set add_eos_token to false in tokenizer_config.json and convert again; at run time, --override-kv " +
			"tokenizer.ggml.add_eos_token=bool:false."},
		tokens | metadata, addsEOS},

	{Check{"PHI601", Error, "tensors are missing",
		"Runtimes refuse the file, or start with random weights in their place.",
		download + " Check that all parts were merged."}, tensors | config, missingTensors},
	{Check{"PHI602", Error, "tensors do not belong to the model",
		"llama.cpp refuses a file with tensors that it does not use. An adapter or optimizer state may have been " +
			"saved with the model.",
		"Save the merged model without adapters, and convert again."}, tensors | config, unexpectedTensors},
	{Check{"PHI603", Error, "a shape contradicts the configuration",
		"Configuration and weights are not of the same model, or one of them was edited.",
		"Take both from the same release. Phi-3 keeps q, k, v and gate, up fused: (heads + 2·kv heads)·head_dim and " +
			"2·intermediate_size rows; experts are stacked: their number, rows, columns."},
		tensors | config, shapes},
	{Check{"PHI604", Error, "a vector is not F32",
		"Norm weights and LongRoPE factors are stored as F32 in GGUF files; llama.cpp aborts on others.",
		reconvert}, inGGUF | tensors, vectorTypes},
	{Check{"PHI605", Error, "a tensor has a type that cannot be used",
		"Integers and 8-bit floats need scales that are stored elsewhere, in a layout of each tool's own.",
		"Start from the 16-bit checkpoint."}, inCheckpoint | tensors, unusableTypes},
	{Check{"PHI606", Warning, "the model ties its output matrix, but has another one",
		"Such a checkpoint comes from training both matrices apart. transformers 5 and phi3conv use lm_head.weight; " +
			"older programs drop it silently, and output changes.",
		"Set tie_word_embeddings to false in config.json."}, inCheckpoint | config | values, anotherHead},
	{Check{"PHI607", Warning, "names of tensors have a tool's around them",
		"torch.compile, FSDP, DDP and PEFT leave their modules' names in those of the tensors. phi3conv takes them " +
			"off; transformers starts with random weights in their place, and llama.cpp's converter stops.",
		"Save the model that was wrapped, not the wrapper: model._orig_mod, model.module."},
		inCheckpoint | config | tensors, wrappedNames},
	{Check{"PHI608", Error, "tensors that become one have different types",
		"Experts of a block, or q, k and v, are stored as one tensor, which has one type; phi3conv refuses others.",
		"Save the model with one type for all tensors, such as model.to(torch.bfloat16).save_pretrained(dir)."},
		inCheckpoint | config | tensors, mixedTypes},

	{Check{"PHI701", Error, "values are not finite",
		"A NaN or an infinity spoils every value that is computed from it; what a runtime makes of that differs from " +
			"machine to machine.",
		download + " If the original has it too, training diverged; if not, the values left the range of float16."},
		values, notFinite},
	{Check{"PHI702", Error, "all values are zero",
		"The tensor was never filled: a failed save, a hole in a sparse file, or a bad merge.",
		download}, values, allZero},
	{Check{"PHI703", Warning, "all values are equal",
		"No training leaves a tensor constant: these are initial or placeholder values.",
		"Check that the weights were loaded before they were saved."}, values, constant},
	{Check{"PHI704", Error, "values are absurdly large",
		"Weights are below 100 in magnitude; values beyond float16's range come from wrong byte order, a wrong type, " +
			"or flipped bits.",
		download}, values, absurd},
	{Check{"PHI705", Warning, "two tensors hold the same data",
		"A layer was written twice, or a copy of the embedding is stored though the model ties it. Models made by " +
			"stacking layers have this on purpose.",
		reconvert}, values, sameData},
	{Check{"PHI706", Warning, "blocks have a scale of zero",
		"All weights of such a block or sub-block decode to one value, while others of its row do not: values were " +
			"too small for float16 scales, or data was lost.",
		"Quantize again from the original; if it stays, keep the tensor at Q8_0 or BF16: --tensor-type REGEX=BF16."},
		inGGUF | values, zeroScales},
	{Check{"PHI707", Warning, "block scales are at the bottom of float16's range",
		"The weights are so small that their scales keep 2 bits or fewer: the error is far above what the type " +
			"promises.",
		"Quantize this tensor as BF16: --tensor-type REGEX=BF16."}, inGGUF | values, tinyScales},
}
