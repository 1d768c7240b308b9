package main

import (
	"slices"
	"time"

	"github.com/phi3conv/phi3conv/internal/job/serve"
	"github.com/urfave/cli/v2"
)

func serveCommand() *cli.Command {
	var opt serve.Options
	var compute computeFlags
	var draft draftFlags
	return &cli.Command{
		Name:      "serve",
		Usage:     "serve models over HTTP, with OpenAI's API",
		ArgsUsage: "MODEL...",
		Description: `Clients of OpenAI find /v1/models, /v1/completions and /v1/chat/completions,
lm-evaluation-harness also /tokenize, /detokenize and /tokenizer_info. Log-probabilities of the
prompt are given with "echo", and no answer depends on who else is served: each has the bits that
it has alone. What texts begin with in common is computed once. The address itself is a page for
chats, and for comparing quantized models with the original. See docs/serve.md. Examples:

   phi3conv serve phi-3-mini-Q4_K_M.gguf
   phi3conv serve Phi-3-mini-4k-instruct phi-3-mini-Q4_K_M.gguf
   phi3conv serve --demo`,
		Flags: slices.Concat(serveFlags(&opt), draft.flags(true), compute.flags()),
		Action: func(c *cli.Context) error {
			opt.Draft, opt.Lookup = draft.model, draft.lookup
			return serveAction(c, opt, &compute)
		},
	}
}

func serveFlags(o *serve.Options) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "host", Value: "127.0.0.1", Destination: &o.Host, Usage: "listen at `ADDRESS`"},
		&cli.IntFlag{Name: "port", Value: 8080, Destination: &o.Port,
			Usage: "listen at port `N`; 0 takes one that is free"},
		&cli.StringFlag{Name: "api-key", EnvVars: []string{"PHI3CONV_API_KEY"}, Destination: &o.HTTP.APIKey,
			Usage: "clients must send `KEY`"},
		&cli.StringFlag{Name: "cors", Destination: &o.HTTP.Origin,
			Usage: "pages of `ORIGIN` may use the API; * for all pages", DefaultText: "none"},
		&cli.IntFlag{Name: "parallel", Aliases: []string{"np"}, Value: 8, Destination: &o.Engine.Parallel,
			Usage: "run at most `N` requests of a model at the same time"},
		&cli.IntFlag{Name: "queue", Destination: &o.Engine.Queue,
			Usage: "let at most `N` requests wait", DefaultText: "4 for each that runs"},
		&cli.IntFlag{Name: "ctx-size", Aliases: []string{"c"}, Destination: &o.Engine.Context,
			Usage: "context of `N` tokens for each request", DefaultText: "the model's, at most 4096"},
		&cli.StringFlag{Name: "cache-ram", Usage: "use at most `SIZE` of memory for keys and values of a model",
			DefaultText: "what --parallel requests of --ctx-size tokens take"},
		&cli.IntFlag{Name: "timeout", Aliases: []string{"to"}, Value: 3600,
			Usage: "end a request after `N` seconds; 0: never"},
		modelThreadsFlag(),
		&cli.BoolFlag{Name: "demo", Destination: &o.Demo,
			Usage: "serve the tiny model that is part of the program, and two quantized ones of it"},
	}
}

func serveAction(c *cli.Context, o serve.Options, compute *computeFlags) (err error) {
	o.Models = c.Args().Slice()
	if o.Demo == (len(o.Models) > 0) {
		return usagef("serve takes one or more MODELs, or --demo")
	}
	for _, n := range []struct {
		flag       string
		value, min int
		max        int
	}{
		{"port", o.Port, 0, 65535}, {"parallel", o.Engine.Parallel, 1, 1024}, {"queue", o.Engine.Queue, 0, 1 << 20},
		{"ctx-size", o.Engine.Context, 0, 1 << 30}, {"timeout", c.Int("timeout"), 0, 1 << 30},
	} {
		if n.value < n.min || n.value > n.max {
			return usagef("--%s is %d, expected %d to %d", n.flag, n.value, n.min, n.max)
		}
	}
	if s := c.String("cache-ram"); s != "" {
		if o.Engine.Bytes, err = size("cache-ram", s); err != nil {
			return err
		}
	}
	if o.Compute, err = compute.options(); err != nil {
		return err
	}
	if o.Compute.Threads, err = modelThreads(c.Int("threads"), c.IsSet("threads")); err != nil {
		return err
	}
	o.HTTP.Version, o.HTTP.Timeout = versionString(), time.Duration(c.Int("timeout"))*time.Second
	o.Monitor = newMonitor(c.App.ErrWriter)
	return serve.Run(c.Context, o)
}
