package cmdline

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// Foreign is a flag of llama.cpp's programs or of convert_hf_to_gguf.py that people bring along. It is one of ours
// under another name, or the user hears what to do.
type Foreign struct {
	Of    string // our commands, "" for all; the first entry with command and name counts
	Names string // without dashes
	Flag  string // ours that does the same, or Argument, or Nothing
	Say   string // instead of Flag. Flags in it are those of the command, after "phi3conv X" those of X
}

// What a flag of others may be besides a flag of ours.
const (
	Argument = "(argument)" // its value is an argument here
	Nothing  = "(nothing)"  // what it asks for is what always happens
)

const (
	runs   = "run serve logits bench eval verify seal calibrate" // run models
	models = runs + " convert quantize inspect lint tokenize detokenize pack"

	samplers = "samplers sampler-seq sampling-seq typical typical-p top-nsigma top-n-sigma xtc-probability " +
		"xtc-threshold dry-multiplier dry-base dry-allowed-length dry-penalty-last-n dry-sequence-breaker " +
		"adaptive-target adaptive-decay dynatemp-range dynatemp-exp mirostat mirostat-lr mirostat-ent " +
		"presence-penalty frequency-penalty l logit-bias bs backend-sampling"
	formats = "grammar grammar-file j json-schema jf json-schema-file"
)

// ForeignFlags is the table of them.
var ForeignFlags = []Foreign{
	// llama-cli
	{"run", "cnv conversation i interactive if interactive-first mli multiline-input", "",
		"without --prompt and --file, run holds a conversation"},
	{"run", "st single-turn", "", "with --prompt or --file, run answers once"},
	{"run", "no-cnv no-conversation", "raw", ""},
	{"run", "jinja no-escape no-display-prompt no-context-shift", Nothing, ""},
	{"run", "e escape", "", "backslashes in prompts mean nothing; the shell makes a new line: --prompt $'a\\nb'"},
	{"run", "no-jinja", "", "templates are always Jinja's; --raw goes without"},
	{"run", "chat-template", "", "--chat-template-file reads one"},
	{"run", "sysf system-prompt-file", "", `--system-prompt "$(cat FILE)"`},
	{"run", "r reverse-prompt", "", "--stop TEXT ends an answer where TEXT begins"},
	{"run", "ignore-eos", "", "an answer ends at the model's end token"},
	{"run", samplers, "",
		"samples are taken with --temp, --top-k, --top-p, --min-p, --repeat-penalty, --repeat-last-n and --seed"},
	{"run", "prompt-cache prompt-cache-all prompt-cache-ro", "", "nothing is kept from one run to the next"},
	{"run", "mm mmproj mmu mmproj-url no-mmproj image audio video", "", "only text goes in"},
	{"run", "sp special", "", "control tokens are not shown"},

	// llama-server
	{"serve", "jinja cb cont-batching cache-prompt metrics no-webui no-ui no-slots", Nothing, ""},
	{"serve", samplers + " " + formats + " temp temperature top-k top-p min-p repeat-penalty repeat-last-n s seed " +
		"n predict n-predict ignore-eos", "", "each request says that; docs/serve.md has the names"},
	{"serve", "a alias", "", "clients call a model as its file is called, without .gguf"},
	{"serve", "api-key-file", "", "the environment variable PHI3CONV_API_KEY has the key"},
	{"serve", "chat-template chat-template-file no-jinja", "", "each model has its own chat template"},
	{"run serve", "draft-n draft-max draft-min spec-draft-n-max spec-draft-n-min spec-draft-p-min draft-p-min", "",
		"how many tokens are guessed follows from how many were right; leave it out"},
	{"run serve", "spec-type mtp lcs lookup-cache-static lcd lookup-cache-dynamic", "",
		"--draft MODEL guesses with a model, --lookup with what is in the text"},
	{"serve", "props slots webui ui path threads-http ssl-key-file ssl-cert-file api-prefix " +
		"slot-save-path sps slot-prompt-similarity cache-reuse no-cache-prompt no-cont-batching embedding reranking " +
		"rerank pooling reasoning-format reasoning-budget models-dir mm mmproj mmu mmproj-url", "",
		"there is nothing like it; leave it out"},
	// llama-bench
	{"bench", "p", "n-prompt", ""},
	{"bench", "o output", "format", ""},
	{"bench", "pg", "", "--n-prompt and --n-gen are measured apart"},
	{"bench", "oe output-err progress delay", "", "leave it out"},

	// llama-imatrix
	{"calibrate", "output-file", "output", ""},
	{"calibrate", "output-format", "", "the name of --output decides: one that ends in .dat gets the older format"},
	{"calibrate", "ofreq output-frequency save-frequency", "",
		"the same command continues an interrupted run; leave it out"},
	{"calibrate", "process-output no-ppl", Nothing, ""},
	{"calibrate", "ppl", "", "phi3conv verify measures perplexity"},
	{"calibrate", "chunk from-chunk", "", "--chunks and --tokens take sequences from all of the text"},
	{"calibrate", "in-file", "", "statistics are not added up: give all texts at once, with --text for each"},
	{"calibrate", "show-statistics", "", "--show FILE prints what is in a file of statistics"},
	{"calibrate", "parse-special", "",
		`a text whose name ends in .jsonl holds conversations; --text takes it`},

	// llama-perplexity
	{"verify seal", "ppl-stride", "", "--stride N begins a window every N tokens"},
	{"verify", "kl-divergence", "", "--base MODEL is what to compare with"},
	{"verify", "kl-divergence-base save-all-logits", "",
		"--seal FILE is what an original predicts; phi3conv seal makes it"},
	{"verify seal", "hellaswag hellaswag-tasks winogrande winogrande-tasks multiple-choice multiple-choice-tasks", "",
		"phi3conv eval asks questions, those of --task"},
	{"verify", "ppl-output-type", "", "--json and --report have every figure"},
	{"eval", "multiple-choice f file tasks", "", "--task FILE has the questions"},
	{"eval", "multiple-choice-tasks", "limit", ""},
	{"eval", "num_fewshot", "shots", ""},
	{"eval", "hellaswag hellaswag-tasks winogrande winogrande-tasks", "",
		"write the questions as JSON lines, with choices, and give the file with --task; --score text suits them"},
	{"verify seal calibrate", "p prompt bf binary-file", "", "--text FILE has the text"},
	{"run", "bf binary-file", "", "--file FILE has the text"},
	{"logits", "c ctx-size", "", "the context is as long as the tokens; leave it out"},
	{"verify seal logits eval", "s seed", "", "nothing is drawn at random; leave it out"},
	{"verify seal calibrate", "b batch-size ub ubatch-size", "",
		"a window is evaluated at once, and --ctx-size is its length; leave it out"},

	// convert_hf_to_gguf.py
	{"convert", "outfile", "output", ""},
	{"convert", "use-temp-file no-lazy no-tensor-first-split", "", "memory is bounded by --max-ram; leave it out"},
	{"convert", "bigendian", "", "GGUF files are written in little-endian order"},
	{"convert", "vocab-only", "", "phi3conv tokenize needs no GGUF file: it reads the checkpoint"},
	{"convert", "metadata", "", "--model-name gives the name; the rest comes from the checkpoint and its model card"},
	{"convert", "print-supported-models", "", "they are those of phi3, phi2, phi3small and phimoe; see the README"},
	{"convert", "mmproj mtp no-mtp no-nextn mistral-format dspark fp8-as-q8 fuse-gate-up-exps target-model-dir " +
		"sentence-transformers-dense-modules disable-mistral-community-chat-template", "",
		"it is for models of other architectures; leave it out"},

	// llama-quantize
	{"convert quantize", "split-max-tensors", "", "--split-max-size SIZE cuts the output"},
	{"convert quantize", "keep-split", "", "--split-max-size SIZE cuts the output; all parts of an input are read"},
	{"convert quantize", "tensor-type-file", "",
		"--tensor-type may be given several times, and --recipe FILE has each tensor's type"},
	{"convert quantize", "include-weights exclude-weights", "", "--stats counts for all tensors that it has"},
	{"convert quantize", "override-kv metadata", "", "--model-name is what can be changed"},
	{"convert quantize", "prune-layers", "", "layers are never left out"},
	{"quantize", "o output outfile", "", "the output is the second argument: phi3conv quantize IN OUT TYPE"},
	{"quantize", "t type outtype", "", "the type is the third argument: phi3conv quantize IN OUT TYPE"},

	// gguf-dump, llama-tokenize
	{"inspect", "no-tensors markdown json-array data-offset data-alignment verbose", "", "--json has all"},
	{"tokenize", "stdin", "", "without --prompt and --file, standard input is read"},
	{"tokenize", "show-count", "", "--ids or --json print a list to count"},
	{"tokenize", "no-escape log-disable", Nothing, ""},

	// all of llama.cpp
	{"reproduce", "m", "model", ""},
	{models, "m model", Argument, ""},
	{models + " reproduce", "hf hfr hf-repo hff hf-file hft hf-token mu model-url remote offline " +
		"dr docker-repo cl cache-list", "",
		"nothing is fetched from a hub; hf download NAME --local-dir DIR does that, and DIR is the argument"},
	{runs, "ngl gpu-layers n-gpu-layers sm split-mode ts tensor-split mg main-gpu dev device list-devices ot " +
		"override-tensor cmoe cpu-moe ncmoe n-cpu-moe kvo kv-offload nkvo no-kv-offload op-offload nopo " +
		"no-op-offload no-host rpc fit fitt fitc fit-target fit-ctx", "", "models run on the CPU; leave it out"},
	{runs, "fa flash-attn", "", "attention is always computed by parts; leave it out"},
	{runs, "tb threads-batch", "", "--threads is the number for prompts, too"},
	{runs, "C cpu-mask Cr cpu-range cpu-strict Cb cpu-mask-batch Crb " +
		"cpu-range-batch cpu-strict-batch prio prio-batch poll poll-batch numa", "",
		"--threads says how many; the system says on which CPUs (taskset, numactl)"},
	{"run serve logits bench eval", "ub ubatch-size", "", "--batch-size tokens are evaluated at a time"},
	{"run serve logits bench eval verify", "ctk cache-type-k ctv cache-type-v", "", "--cache-type is for both"},
	{"seal calibrate", "ctk cache-type-k ctv cache-type-v", "", "everything is computed in float32; leave it out"},
	{"seal calibrate", "mlock mmap no-mmap mmp dio direct-io ndio no-direct-io lm load-mode nr no-repack", "",
		"weights are read when they are needed; leave it out"},
	{"run serve logits bench eval verify", "mlock mmap no-mmap mmp dio direct-io ndio no-direct-io lm load-mode", "",
		"weights are read at the start; --no-repack uses them in the mapped file"},
	{"run serve logits bench eval verify", "nr", "no-repack", ""},
	{runs, "lora lora-scaled", "", "phi3conv convert --lora DIR merges an adapter into a model"},
	{runs, "rope-scaling rope-scale rope-freq-base rope-freq-scale yarn-orig-ctx yarn-ext-factor yarn-attn-factor " +
		"yarn-beta-slow yarn-beta-fast swa-full override-kv", "", "the model's own configuration counts; leave it out"},
	{"run serve logits bench eval verify seal calibrate", "warmup no-warmup perf no-perf", "", "leave it out"},
	{"logits bench eval verify seal calibrate", samplers + " " + formats + " temp temperature " +
		"top-k top-p min-p repeat-penalty repeat-last-n n predict n-predict ignore-eos", "",
		"only phi3conv run samples, with --temp and others"},
	{"logits serve bench eval verify seal calibrate", "context-shift no-context-shift", "",
		"there is nothing like it; leave it out"},
	{runs, "keep defrag-thold dt kvu kv-unified no-kvu no-kv-unified np parallel " +
		"control-vector control-vector-scaled control-vector-layer-range e escape no-escape embd embeddings " +
		"spec-draft-type-k spec-draft-type-v ctkd ctvd cache-type-k-draft cache-type-v-draft no-mmproj", "",
		"there is nothing like it; leave it out"},
	{runs, "repack", Nothing, ""},
	{runs, "completion-bash", "", "phi3conv completion prints a script for a shell"},
	{runs, "check-tensors", "", "phi3conv lint looks at all values"},
	{"", "verbose v log-verbose lv verbosity log-disable log-file log-colors log-prefix " +
		"log-timestamps no-log-prefix no-log-timestamps log-verbosity", "",
		"there is no log; leave it out"},
	{"", "usage", "", "--help prints what there is"},
	{"", "version", "", "phi3conv version says that"},
}

// foreignCommands are programs of others, without "llama-", and words for what commands of ours do.
var foreignCommands = map[string]string{
	"chat": "run", "cli": "run", "generate": "run", "completion": "run", "simple": "run", "main": "run",
	"imatrix": "calibrate", "perplexity": "verify", "ppl": "verify", "kld": "verify",
	"server": "serve", "api": "serve",
	"batched-bench": "bench", "benchmark": "bench",
	"convert_hf_to_gguf": "convert", "convert-hf-to-gguf": "convert", "export": "convert",
	"export-lora": "convert --lora", "gguf-split": "convert --split-max-size", "split": "convert --split-max-size",
	"gguf_dump": "inspect", "gguf-dump": "inspect", "show": "inspect", "info": "inspect", "dump": "inspect",
	"diff": "inspect --diff", "check": "lint", "validate": "lint", "compare": "verify", "evaluate": "eval",
	"encode": "tokenize", "decode": "detokenize", "download": "pull", "upload": "push", "publish": "push",
}

// foreignFlag returns the entry of a flag that another program has, nil if there is none.
func foreignFlag(c *cli.Command, name string) *Foreign {
	for i := range ForeignFlags {
		f := &ForeignFlags[i]
		if (f.Of == "" || slices.Contains(strings.Fields(f.Of), c.Name)) &&
			slices.Contains(strings.Fields(f.Names), name) {
			return f
		}
	}
	return nil
}
