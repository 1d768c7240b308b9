package main

import (
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/urfave/cli/v2"
)

// formatFlags say what answers must look like; names are llama.cpp's.
func formatFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "grammar", Usage: "keep answers to a grammar, `TEXT` in GBNF"},
		&cli.StringFlag{Name: "grammar-file", Usage: "keep answers to the grammar in `FILE`; - for standard input"},
		&cli.StringFlag{Name: "json-schema", Aliases: []string{"j"},
			Usage: "answer in JSON that matches `SCHEMA`; {} for any object"},
		&cli.StringFlag{Name: "json-schema-file", Aliases: []string{"jf"},
			Usage: "answer in JSON that matches the schema in `FILE`; - for standard input"},
	}
}

func promptFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "prompt", Aliases: []string{"p"}, Usage: "answer `TEXT`"},
		&cli.StringFlag{Name: "file", Aliases: []string{"f"},
			Usage: "answer the text in `FILE`; - for standard input"},
		&cli.StringFlag{Name: "system-prompt", Aliases: []string{"sys"},
			Usage: "`TEXT` before the conversation, which says how to answer"},
		&cli.BoolFlag{Name: "raw", Usage: "continue the prompt, without a chat template"},
		&cli.StringFlag{Name: "chat-template-file", Usage: "chat template in `FILE`, in Jinja",
			DefaultText: "the model's own"},
		&cli.IntFlag{Name: "predict", Aliases: []string{"n", "n-predict"}, Value: -1,
			Usage: "answer in at most `N` tokens; -1: as many as the context has room for"},
		&cli.StringSliceFlag{Name: "stop", Usage: "end the answer where `TEXT` begins"},
		&cli.BoolFlag{Name: "context-shift", Usage: "drop what is oldest when the context is full, and go on"},
		&cli.BoolFlag{Name: "no-history",
			Usage: "keep no history of what you write; nor is one kept if " + noHistory + " is set"},
	}
}

func samplingFlags() []cli.Flag {
	return []cli.Flag{
		&cli.Float64Flag{Name: "temp", Aliases: []string{"temperature"}, Value: runtime.DefaultTemperature,
			Usage: "temperature `T`; 0 always takes the most likely token"},
		&cli.IntFlag{Name: "top-k", Value: runtime.DefaultTopK,
			Usage: "sample from the `K` most likely tokens; 0 turns this off"},
		&cli.Float64Flag{Name: "top-p", Value: runtime.DefaultTopP,
			Usage: "sample from the most likely tokens that together have probability `P`; 1 turns this off"},
		&cli.Float64Flag{Name: "min-p", Value: runtime.DefaultMinP,
			Usage: "take no token that is less than `P` times as likely as the most likely; 0 turns this off"},
		&cli.Float64Flag{Name: "repeat-penalty", Value: runtime.DefaultRepeatPenalty,
			Usage: "penalty `X` that makes recent tokens less likely; 1 turns this off"},
		&cli.IntFlag{Name: "repeat-last-n", Value: runtime.DefaultRepeatLastN, Usage: "the last `N` tokens are recent"},
		&cli.Int64Flag{Name: "seed", Aliases: []string{"s"}, Value: -1,
			Usage: "seed `N` of the samples: the same seed gives the same answer; -1 chooses one at random"},
		&cli.IntFlag{Name: "ctx-size", Aliases: []string{"c"}, Usage: "context of `N` tokens",
			DefaultText: "the model's, at most 4096"},
		modelThreadsFlag(),
		&cli.BoolFlag{Name: "check", Usage: "compare a .pmap file with its checksums first"},
		&cli.BoolFlag{Name: "json", Usage: "print the answer and figures as JSON, at the end"},
	}
}
