package main

import (
	"context"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/phi3conv/phi3conv/internal/output"
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

// artifactFlags are the flags that the commands of artifacts share.
type artifactFlags struct {
	signKey, verifyKey string
	plainHTTP, json    bool
	files              output.Files
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
	if f.signKey != "" {
		key, err := pack.ReadPrivateKey(f.signKey)
		if err != nil {
			return err
		}
		if err := im.SignFor(ctx, key, to); err != nil {
			return err
		}
	}
	start := time.Now()
	what := "writing"
	if to.InRegistry() {
		what = "sending"
	}
	step := m.Begin(what, im.Size(), work.Bytes)
	err := im.Send(ctx, to, step.Set)
	step.End()
	if err != nil {
		return err
	}
	r := f.newArtifact(im, to.String(), start)
	r.Left = left
	layers, _ := im.Layers() // none where another tool made an artifact that is only passed on
	for _, l := range layers {
		r.add(l, l.Name)
	}
	return r.print(f.files.Writer(w, m.w), f.json)
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

func (f *artifactFlags) newArtifact(im *pack.Image, out string, start time.Time) *artifact {
	r := &artifact{
		Output: out, Digest: im.Desc.Digest.String(), Type: im.Manifest.Config.MediaType, Bytes: im.Size(),
		Verified: f.verifyKey != "", Seconds: time.Since(start).Seconds(),
	}
	if im.Signature != nil {
		r.Signature = im.Signature.Desc.Digest.String()
	}
	return r
}

func (r *artifact) add(l pack.Layer, path string) {
	r.Files = append(r.Files, layer{path, string(l.Role), l.Size, l.MediaType, l.Digest.String()})
}

func (r *artifact) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return report.WriteJSON(w, r)
	}
	t := report.NewColumns(w)
	for _, f := range r.Files {
		t.Row(f.Role, report.Printable(f.Path), report.ByteSize(f.Bytes), f.Digest)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	p := &report.Printer{W: w}
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
