package main

import (
	verifyjob "github.com/phi3conv/phi3conv/internal/job/verify"
	"github.com/phi3conv/phi3conv/verify"
	"github.com/urfave/cli/v2"
)

// verifySeal is verify with a seal in place of the original.
func verifySeal(c *cli.Context, path string) error {
	for _, name := range []string{"base", "text", "ctx-size", "stride", "chunks", "shard", "one-at-a-time"} {
		if c.IsSet(name) {
			return usagef("--%s cannot be used with a seal, which pins the original, the tokens and the windows", name)
		}
	}
	for _, name := range []string{"baseline", "max-regression", "by-layer", "by-tensor", "by-layer-chunks"} {
		if c.IsSet(name) {
			return usagef("--%s cannot be used with a seal: it needs exact KL divergences, and so the original", name)
		}
	}
	if c.NArg() != 1 {
		return usagef("verify with a seal takes one QUANT, got %d arguments", c.NArg())
	}
	if c.Int("worst") < 0 {
		return usagef("--worst cannot be negative")
	}
	o := verifyjob.SealedOptions{
		Seal: path, Quant: c.Args().First(), Worst: c.Int("worst"), Speed: speedOptions(c),
		Tool: "phi3conv " + versionString(), Monitor: monitor{c.App.ErrWriter},
	}
	var err error
	if o.Thresholds, err = limits(c); err != nil {
		return err
	}
	if o.Compute, err = verifyComputeOptions(c); err != nil {
		return err
	}
	r, err := verifyjob.RunSealed(c.Context, o)
	if err != nil {
		return err
	}
	return finish(c, verify.Reports{r}, func() error { return nil })
}

// sealOf returns the path of the seal to verify with: --seal, or a .pmap file that holds one. It
// is "" if there is none.
func sealOf(c *cli.Context) string {
	quant := c.Args().First()
	if !c.IsSet("seal") && !c.IsSet("base") && c.NArg() == 1 && verifyjob.HasSeal(quant) {
		return quant
	}
	return c.String("seal")
}
