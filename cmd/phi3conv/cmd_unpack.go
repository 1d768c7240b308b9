package main

import (
	"path/filepath"
	"strings"
	"time"

	"github.com/phi3conv/phi3conv/internal/cmdline"
	"github.com/phi3conv/phi3conv/internal/pack"
	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/urfave/cli/v2"
)

func pullCommand() *cli.Command {
	var f artifactFlags
	return &cli.Command{
		Name:      "pull",
		Usage:     "fetch a model from a registry",
		ArgsUsage: "oci://HOST/REPOSITORY:TAG",
		Description: `The files appear in DIR under their names when their digests have been checked. Until then they
are called .NAME.DIGEST.partial. With --layout, or if the output is a .tar file, the artifact is
kept as it is, for push or unpack elsewhere. Examples:

   phi3conv pull oci://ghcr.io/me/phi:q4 -o phi --verify-key cosign.pub
   phi3conv verify phi/model.pmap --seal phi/model.seal
` + registryHelp + packCodes,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"},
				Usage: "write the files to `DIR`, or the artifact to FILE.tar"},
			&cli.BoolFlag{Name: "layout", Usage: "write an image layout to DIR instead of the files"},
			f.verifyKeyFlag(), f.plainHTTPFlag(), f.jsonFlag(), forceFlag(&f.files),
		},
		Action: func(c *cli.Context) error { return pullAction(c, &f) },
	}
}

func pullAction(c *cli.Context, f *artifactFlags) error {
	if c.NArg() != 1 || !strings.HasPrefix(c.Args().First(), pack.Scheme) {
		return usagef("pull takes oci://HOST/REPOSITORY:TAG")
	}
	out := c.String("output")
	if out == "" || strings.HasPrefix(out, pack.Scheme) {
		return usagef("pull needs --output, a directory or .tar file")
	}
	if err := f.check(newMonitor(c.App.ErrWriter), &out, f.verifyKey); err != nil {
		return err
	}
	if err := f.readKeys(); err != nil {
		return err
	}
	from, err := pack.OpenRegistry(c.Args().First(), f.registry(c.LocalFlagNames()))
	if err != nil {
		return err
	}
	im, err := from.Open(c.Context)
	if err != nil {
		return err
	}
	if !c.Bool("layout") && !pack.IsTar(out) {
		return unpack(c, f, im, out)
	}
	if err := f.verify(c.Context, im); err != nil {
		return err
	}
	to, err := pack.OpenTarget(out, pack.RegistryOptions{})
	if err != nil {
		return err
	}
	return f.send(c.Context, im, to, nil, c.App.Writer, newMonitor(c.App.ErrWriter))
}

func unpackCommand() *cli.Command {
	var f artifactFlags
	return &cli.Command{
		Name:      "unpack",
		Usage:     "take the files of a model out of an OCI artifact",
		ArgsUsage: "DIR|FILE.tar",
		Description: `The artifact is what pack or pull --layout made, or any other image layout with one artifact
whose layers are single files with names. Example:

   phi3conv unpack phi-3-mini.tar -o phi-3-mini --verify-key cosign.pub
` + packCodes,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write the files to `DIR`"},
			f.verifyKeyFlag(), f.jsonFlag(), forceFlag(&f.files),
		},
		Action: func(c *cli.Context) error {
			if err := cmdline.One(c.Command, c.Args().Slice(), "directory or tar file"); err != nil {
				return err
			}
			out := c.String("output")
			if out == "" {
				return usagef("unpack needs --output")
			}
			err := newMonitor(c.App.ErrWriter).checkFiles(&f.files, nil, directory("--output", &out))
			if err != nil {
				return err
			}
			if err := f.readKeys(); err != nil {
				return err
			}
			im, err := pack.OpenLayout(c.Context, c.Args().First())
			if err != nil {
				return err
			}
			return unpack(c, &f, im, out)
		},
	}
}

// unpack verifies the artifact, if wanted, and writes its files.
func unpack(c *cli.Context, f *artifactFlags, im *pack.Image, dir string) error {
	if err := f.verify(c.Context, im); err != nil {
		return err
	}
	start := time.Now()
	step := newMonitor(c.App.ErrWriter).Begin("fetching", im.Size(), progress.Bytes)
	_, err := im.Unpack(c.Context, dir, f.files.Force, step.Set)
	step.End()
	if err != nil {
		return err
	}
	layers, err := im.Layers()
	if err != nil {
		return err
	}
	r := pack.Summarize(im, dir, start)
	for _, l := range layers {
		r.Add(l, filepath.Join(dir, filepath.FromSlash(l.Name)))
	}
	return f.print(c.App.Writer, r)
}
