package main

import (
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/internal/cmdline"
	"github.com/phi3conv/phi3conv/internal/pack"
	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/urfave/cli/v2"
)

func packCommand() *cli.Command {
	var f artifactFlags
	return &cli.Command{
		Name:      "pack",
		Usage:     "put a model into an OCI artifact: a directory, a tar file or a registry",
		ArgsUsage: "MODEL",
		Description: `MODEL is a GGUF or .pmap file, or a checkpoint directory. Each file becomes a layer, as it is. Of
a directory these are taken: weights (.safetensors, .gguf, .pmap), configuration and tokenizer
(.json, .model, .jinja, .txt), code (.py), seals (.seal), LICENSE and NOTICE, README and other
.md.

The same files give the same digest, wherever and whenever they are packed. docs/pack.md has the
media types and annotations. Examples:

   phi3conv pack model.pmap --seal model.seal -o oci://ghcr.io/me/phi:q4 --sign-key cosign.key
   phi3conv pack Phi-3-mini-4k-instruct -o phi-3-mini.tar
` + registryHelp + packCodes,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"},
				Usage: "write to `DIR`, FILE.tar or oci://HOST/REPOSITORY:TAG"},
			cmdline.OneOf(pack.Formats, &cli.StringFlag{Name: "format", Value: "modelpack",
				Usage: "convention `NAME` of the media types: " +
					strings.Join(pack.Formats, " or ") + " (GGUF files for Docker Model Runner)"}),
			&cli.StringSliceFlag{Name: "seal", Usage: "add `FILE`, a seal to verify the model with"},
			&cli.StringSliceFlag{Name: "report", Usage: "add `FILE`, a report of verify"},
			&cli.StringSliceFlag{Name: "recipe", Usage: "add `FILE`, a recipe that says how the model was made"},
			&cli.StringSliceFlag{Name: "config", Usage: "add `FILE`, a tokenizer, chat template or configuration"},
			&cli.StringSliceFlag{Name: "license", Usage: "add `FILE`, a license"},
			&cli.StringSliceFlag{Name: "readme", Usage: "add `FILE`, a model card"},
			f.signKeyFlag(), f.plainHTTPFlag(), f.jsonFlag(), forceFlag(&f.files),
		},
		Action: func(c *cli.Context) error { return packAction(c, &f) },
	}
}

func packAction(c *cli.Context, f *artifactFlags) error {
	if err := cmdline.One(c.Command, c.Args().Slice(), "MODEL"); err != nil {
		return err
	}
	if !slices.Contains(pack.Formats, c.String("format")) {
		return usagef("--format %s, expected %s", c.String("format"), strings.Join(pack.Formats, " or "))
	}
	out := c.String("output")
	if out == "" {
		return usagef("pack needs --output, a directory, a .tar file or oci://HOST/REPOSITORY:TAG")
	}
	var extra []pack.File
	inputs := []string{c.Args().First(), f.signKey}
	for _, role := range []pack.Role{pack.Seal, pack.Report, pack.Recipe, pack.Config, pack.License, pack.Readme} {
		for _, path := range c.StringSlice(string(role)) {
			extra, inputs = append(extra, pack.File{Path: path, Role: role}), append(inputs, path)
		}
	}
	m := newMonitor(c.App.ErrWriter)
	if err := f.check(m, &out, inputs...); err != nil {
		return err
	}
	if err := f.readKeys(); err != nil {
		return err
	}
	to, err := pack.OpenTarget(out, f.registry(c.LocalFlagNames()))
	if err != nil {
		return err
	}
	in, err := pack.Collect(c.Args().First(), extra, out)
	if err != nil {
		return err
	}
	step := m.Begin("hashing", in.Bytes, progress.Bytes)
	im, err := pack.Build(c.Context, in.Files, c.String("format"), step.Set)
	step.End()
	if err != nil {
		return err
	}
	return f.send(c.Context, im, to, in.Left, c.App.Writer, m)
}

func pushCommand() *cli.Command {
	var f artifactFlags
	return &cli.Command{
		Name:      "push",
		Usage:     "send an OCI artifact to a registry",
		ArgsUsage: "DIR|FILE.tar oci://HOST/REPOSITORY:TAG",
		Description: `The artifact is what pack made, or any other image layout with one artifact. Its signature is
sent too, if it has one. Example:

   phi3conv push phi-3-mini.tar oci://ghcr.io/me/phi:q4
` + registryHelp + packCodes,
		Flags: []cli.Flag{f.signKeyFlag(), f.plainHTTPFlag(), f.jsonFlag()},
		Action: func(c *cli.Context) error {
			from, name := c.Args().First(), c.Args().Get(1)
			if c.NArg() != 2 || strings.HasPrefix(from, pack.Scheme) || !strings.HasPrefix(name, pack.Scheme) {
				return usagef("push takes a directory or tar file and oci://HOST/REPOSITORY:TAG")
			}
			if err := f.readKeys(); err != nil {
				return err
			}
			to, err := pack.OpenTarget(name, f.registry(c.LocalFlagNames()))
			if err != nil {
				return err
			}
			im, err := pack.OpenLayout(c.Context, from)
			if err != nil {
				return err
			}
			return f.send(c.Context, im, to, nil, c.App.Writer, newMonitor(c.App.ErrWriter))
		},
	}
}
