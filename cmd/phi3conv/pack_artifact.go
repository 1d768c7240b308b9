package main

import (
	"context"
	"crypto"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/phi3conv/phi3conv/internal/output"
	"github.com/phi3conv/phi3conv/internal/pack"
	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/urfave/cli/v2"
)

const packCodes = `
Exits with 1 if content is not what its digest or signature says, or a signature is missing;
with 3 if an artifact cannot be read or is not there; with 4 if disk or registry fail.`

const registryHelp = `
Registries are asked with the credentials of docker login. If a transfer is interrupted, repeat
the command: it continues where it stopped. Registries on this machine are asked over HTTP,
others over HTTPS.`

// artifactFlags are the flags that the commands of artifacts share.
type artifactFlags struct {
	signKey, verifyKey string
	plainHTTP, json    bool
	files              output.Files

	private crypto.Signer
	public  crypto.PublicKey
}

// readKeys reads the keys that flags name, before anything is hashed or asked for.
func (f *artifactFlags) readKeys() (err error) {
	if f.signKey != "" {
		if f.private, err = pack.ReadPrivateKey(f.signKey); err != nil {
			return err
		}
	}
	if f.verifyKey != "" {
		f.public, err = pack.ReadPublicKey(f.verifyKey)
	}
	return err
}

// verify compares the artifact with the public key, if there is one.
func (f *artifactFlags) verify(ctx context.Context, im *pack.Image) error {
	if f.public == nil {
		return nil
	}
	return im.Verify(ctx, f.public)
}

func (f *artifactFlags) plainHTTPFlag() cli.Flag {
	return &cli.BoolFlag{Name: "plain-http", Destination: &f.plainHTTP,
		Usage: "ask the registry over HTTP", DefaultText: "on if it is on this machine"}
}

func (f *artifactFlags) jsonFlag() cli.Flag {
	return &cli.BoolFlag{Name: "json", Usage: "print digests and files as JSON", Destination: &f.json}
}

func (f *artifactFlags) signKeyFlag() cli.Flag {
	return &cli.StringFlag{Name: "sign-key", Destination: &f.signKey,
		Usage: "sign the manifest, as cosign does, with the private key in a PEM `FILE` (ECDSA P-256 or Ed25519)"}
}

func (f *artifactFlags) verifyKeyFlag() cli.Flag {
	return &cli.StringFlag{Name: "verify-key", Destination: &f.verifyKey,
		Usage: "refuse what is not signed with the public key in a PEM `FILE`, before anything is written"}
}

// check checks the output at path, unless it is a registry.
func (f *artifactFlags) check(m monitor, path *string, inputs ...string) error {
	f.files.Machine = f.json
	switch {
	case strings.HasPrefix(*path, pack.Scheme):
		return nil
	case pack.IsTar(*path) || *path == "-":
		return m.checkFiles(&f.files, inputs, file("--output", path, output.Tar))
	}
	return m.checkFiles(&f.files, inputs, directory("--output", path))
}

// registry returns how registries are asked. given has the names of the flags on the command line.
func (f *artifactFlags) registry(given []string) pack.RegistryOptions {
	opt := pack.RegistryOptions{UserAgent: "phi3conv/" + versionString()}
	if slices.Contains(given, "plain-http") {
		opt.PlainHTTP = &f.plainHTTP
	}
	return opt
}

// send signs the artifact, if wanted, writes or sends it, and prints what it has to w. left names files that
// were not packed.
func (f *artifactFlags) send(ctx context.Context, im *pack.Image, to pack.Target, left []string,
	w io.Writer, m monitor) error {
	if f.private != nil {
		if err := im.SignFor(ctx, f.private, to); err != nil {
			return err
		}
	}
	start := time.Now()
	what := "writing"
	if to.InRegistry() {
		what = "sending"
	}
	step := m.Begin(what, im.Size(), progress.Bytes)
	err := im.Send(ctx, to, step.Set)
	step.End()
	if err != nil {
		return err
	}
	r := pack.Summarize(im, to.String(), start)
	r.Left = left
	layers, _ := im.Layers() // none where another tool made an artifact that is only passed on
	for _, l := range layers {
		r.Add(l, l.Name)
	}
	return f.print(f.files.Writer(w, m.w), r)
}

// print prints what is in an artifact.
func (f *artifactFlags) print(w io.Writer, r *pack.Summary) error {
	r.Verified = f.verifyKey != ""
	return report.Print(w, f.json, r)
}
