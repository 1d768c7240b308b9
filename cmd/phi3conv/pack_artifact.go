package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/phi3conv/phi3conv/internal/pack"
	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/phi3conv/phi3conv/internal/work"
	"github.com/urfave/cli/v2"
)

const packCodes = `
Exits with 1 if content is not what its digest or signature says, or a signature is missing;
with 3 if an artifact cannot be read or is not there; with 4 if disk or registry fail.`

const registryHelp = `
Registries are asked with the credentials of docker login. If a transfer is interrupted, repeat
the command: it continues where it stopped. Registries on this machine are asked over HTTP,
others over HTTPS.`

func plainHTTPFlag() cli.Flag {
	return &cli.BoolFlag{Name: "plain-http",
		Usage: "ask the registry over HTTP", DefaultText: "on if it is on this machine"}
}

func packJSONFlag() cli.Flag {
	return &cli.BoolFlag{Name: "json", Usage: "print digests and files as JSON"}
}

func signKeyFlag() cli.Flag {
	return &cli.StringFlag{Name: "sign-key",
		Usage: "sign the manifest, as cosign does, with the private key in a PEM `FILE` (ECDSA P-256 or Ed25519)"}
}

func verifyKeyFlag() cli.Flag {
	return &cli.StringFlag{Name: "verify-key",
		Usage: "refuse what is not signed with the public key in a PEM `FILE`, before anything is written"}
}

func registryOptions(c *cli.Context) pack.RegistryOptions {
	opt := pack.RegistryOptions{UserAgent: "phi3conv/" + versionString()}
	if c.IsSet("plain-http") {
		plain := c.Bool("plain-http")
		opt.PlainHTTP = &plain
	}
	return opt
}

// refused prints what a check found and returns the error for its exit code.
func refused(c *cli.Context, err error) error {
	if !errors.Is(err, pack.ErrRefused) {
		return err
	}
	if _, err := fmt.Fprintf(c.App.ErrWriter, "phi3conv: %v\n", err); err != nil {
		return err
	}
	return errCheckFailed
}

// sendArtifact signs the artifact, if wanted, writes or sends it, and prints what it has. left names files that
// were not packed.
func sendArtifact(c *cli.Context, im *pack.Image, to pack.Target, left []string) error {
	if path := c.String("sign-key"); path != "" {
		key, err := pack.ReadPrivateKey(path)
		if err != nil {
			return err
		}
		if err := im.SignFor(c.Context, key, to); err != nil {
			return refused(c, err)
		}
	}
	start := time.Now()
	what := "writing"
	if to.InRegistry() {
		what = "sending"
	}
	step := monitor{c.App.ErrWriter}.Begin(what, im.Size(), work.Bytes)
	err := im.Send(c.Context, to, step.Set)
	step.End()
	if err != nil {
		return refused(c, err)
	}
	r := newArtifact(c, im, to.String(), start)
	r.Left = left
	layers, _ := im.Layers() // none where another tool made an artifact that is only passed on
	for _, l := range layers {
		r.add(l, l.Name)
	}
	return r.print(c)
}

// artifact is what the commands print.
type artifact struct {
	Output    string   `json:"output"`
	Digest    string   `json:"digest"`
	Type      string   `json:"type"` // of the manifest's configuration
	Bytes     int64    `json:"bytes"`
	Files     []layer  `json:"files"`
	Left      []string `json:"left,omitempty"`      // files of the directory that were not packed
	Signature string   `json:"signature,omitempty"` // digest of the signatures' manifest
	Verified  bool     `json:"verified"`            // a signature was asked for and is right
	Seconds   float64  `json:"seconds"`
}

type layer struct {
	Path   string `json:"path"`
	Role   string `json:"role,omitempty"`
	Bytes  int64  `json:"bytes"`
	Type   string `json:"type"`
	Digest string `json:"digest"`
}

func newArtifact(c *cli.Context, im *pack.Image, out string, start time.Time) *artifact {
	r := &artifact{
		Output: out, Digest: im.Desc.Digest.String(), Type: im.Manifest.Config.MediaType, Bytes: im.Size(),
		Verified: c.String("verify-key") != "", Seconds: time.Since(start).Seconds(),
	}
	if im.Signature != nil {
		r.Signature = im.Signature.Desc.Digest.String()
	}
	return r
}

func (r *artifact) add(l pack.Layer, path string) {
	r.Files = append(r.Files, layer{path, string(l.Role), l.Size, l.MediaType, l.Digest.String()})
}

func (r *artifact) print(c *cli.Context) error {
	if c.Bool("json") {
		return report.WriteJSON(c.App.Writer, r)
	}
	t := report.NewColumns(c.App.Writer)
	for _, f := range r.Files {
		t.Row(f.Role, report.Printable(f.Path), byteSize(f.Bytes), f.Digest)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	p := &report.Printer{W: c.App.Writer}
	if len(r.Left) > 0 {
		p.Printf("left out: %s\n", strings.Join(r.Left, ", "))
	}
	signed := ""
	switch {
	case r.Verified:
		signed = ", signature verified"
	case r.Signature != "":
		signed = ", signed"
	}
	p.Printf("%s: %s%s, %.1f s\n", r.Output, r.Digest, signed, r.Seconds)
	return p.Err
}
