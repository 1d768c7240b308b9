package main

import (
	"crypto"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/phi3conv/phi3conv/internal/pack"
	"github.com/urfave/cli/v2"
)

const packCodes = `
Exits with 1 if content is not what its digest or signature says, or a signature is missing;
with 3 if an artifact cannot be read or is not there; with 4 if disk or registry fail.`

const registryHelp = `
Registries are asked with the credentials of docker login. Interrupt a transfer and repeat the
command: it goes on where it was. Registries on this machine are asked over HTTP, others over HTTPS.`

func plainHTTPFlag() cli.Flag {
	return &cli.BoolFlag{Name: "plain-http", Usage: "ask the registry over HTTP (default: if it is on this machine)"}
}

func packJSONFlag() cli.Flag {
	return &cli.BoolFlag{Name: "json", Usage: "print digests and files as JSON"}
}

func signKeyFlag() cli.Flag {
	return &cli.StringFlag{Name: "sign-key", Usage: "sign the manifest as cosign does with the private key in this PEM `FILE` (ECDSA P-256 or Ed25519)"}
}

func verifyKeyFlag() cli.Flag {
	return &cli.StringFlag{Name: "verify-key", Usage: "refuse what is not signed by the public key in this PEM `FILE`, before anything is written"}
}

var packCommand = &cli.Command{
	Name:      "pack",
	Usage:     "put a model into an OCI artifact: a directory, a tar file or a registry",
	ArgsUsage: "MODEL",
	Description: `MODEL is a GGUF or .pmap file, or a checkpoint directory. Each file becomes a layer, as it is. Of a
directory these are taken: weights (.safetensors, .gguf, .pmap), configuration and tokenizer
(.json, .model, .jinja, .txt), code (.py), seals (.seal), LICENSE and NOTICE, README and other .md.

The same files give the same digest, wherever and whenever they are packed. docs/pack.md has the media
types and annotations. Examples:

   phi3conv pack model.pmap --seal model.seal --report verify.json --license LICENSE -o oci://ghcr.io/me/phi:q4 --sign-key cosign.key
   phi3conv pack Phi-3-mini-4k-instruct -o phi-3-mini.tar
` + registryHelp + packCodes,
	Flags: []cli.Flag{
		&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`DIR`, FILE.tar or oci://HOST/REPOSITORY:TAG"},
		&cli.StringFlag{Name: "format", Value: "modelpack", Usage: "`CONVENTION` of the media types: " + strings.Join(pack.Formats, " or ") + " (GGUF files for Docker Model Runner)"},
		&cli.StringSliceFlag{Name: "seal", Usage: "seal to verify the model by, a `FILE`"},
		&cli.StringSliceFlag{Name: "report", Usage: "report of verify, a `FILE`"},
		&cli.StringSliceFlag{Name: "recipe", Usage: "how the model was made, a `FILE`"},
		&cli.StringSliceFlag{Name: "config", Usage: "tokenizer, chat template or configuration, a `FILE`"},
		&cli.StringSliceFlag{Name: "license", Usage: "`FILE`"},
		&cli.StringSliceFlag{Name: "readme", Usage: "model card, a `FILE`"},
		signKeyFlag(), plainHTTPFlag(), packJSONFlag(),
	},
	Action: func(c *cli.Context) error {
		if c.NArg() != 1 {
			return usagef("pack takes one MODEL, got %d arguments", c.NArg())
		}
		if !slices.Contains(pack.Formats, c.String("format")) {
			return usagef("--format %s, expected %s", c.String("format"), strings.Join(pack.Formats, " or "))
		}
		to, err := packTarget(c)
		if err != nil {
			return err
		}
		files, left, err := pack.ModelFiles(c.Args().First())
		if err != nil {
			return err
		}
		for _, role := range []pack.Role{pack.Seal, pack.Report, pack.Recipe, pack.Config, pack.License, pack.Readme} {
			for _, path := range c.StringSlice(string(role)) {
				files = slices.DeleteFunc(files, func(f pack.File) bool { return sameFile(f.Path, path) })
				files = append(files, pack.File{Path: path, Role: role})
			}
		}
		size, err := filesSize(files)
		if err != nil {
			return err
		}
		for _, f := range files {
			if sameFile(f.Path, c.String("output")) {
				return usagef("output %s is a file of the input", f.Path)
			}
		}
		bar := newProgress(c.App.ErrWriter, "hashing", size)
		im, err := pack.Build(c.Context, files, c.String("format"), bar.set)
		bar.done()
		if err != nil {
			return err
		}
		return packOut(c, im, to, left)
	},
}

var pushCommand = &cli.Command{
	Name:        "push",
	Usage:       "send an OCI artifact to a registry",
	ArgsUsage:   "DIR|FILE.tar oci://HOST/REPOSITORY:TAG",
	Description: "The artifact is what pack made, or any other image layout with one artifact, with its signature if it has one.\n" + registryHelp + packCodes,
	Flags:       []cli.Flag{signKeyFlag(), plainHTTPFlag(), packJSONFlag()},
	Action: func(c *cli.Context) error {
		if c.NArg() != 2 || strings.HasPrefix(c.Args().First(), pack.Scheme) || !strings.HasPrefix(c.Args().Get(1), pack.Scheme) {
			return usagef("push takes a directory or tar file and oci://HOST/REPOSITORY:TAG")
		}
		to, err := openRegistry(c, c.Args().Get(1))
		if err != nil {
			return err
		}
		im, err := pack.OpenLayout(c.Context, c.Args().First())
		if err != nil {
			return refused(c, err)
		}
		return packOut(c, im, target{registry: to}, nil)
	},
}

var pullCommand = &cli.Command{
	Name:      "pull",
	Usage:     "fetch a model from a registry",
	ArgsUsage: "oci://HOST/REPOSITORY:TAG",
	Description: `The files appear in DIR under their names when their digests have been checked; until then they are
called .NAME.DIGEST.partial. With --layout, or if the output is a .tar file, the artifact is kept as it is, for push
or unpack elsewhere. Example:

   phi3conv pull oci://ghcr.io/me/phi:q4 -o phi --verify-key cosign.pub
   phi3conv verify phi/model.pmap --seal phi/model.seal
` + registryHelp + packCodes,
	Flags: []cli.Flag{
		&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`DIR` for the files, or FILE.tar"},
		&cli.BoolFlag{Name: "layout", Usage: "write an image layout to DIR in place of the files"},
		verifyKeyFlag(), plainHTTPFlag(), packJSONFlag(),
	},
	Action: func(c *cli.Context) error {
		if c.NArg() != 1 || !strings.HasPrefix(c.Args().First(), pack.Scheme) {
			return usagef("pull takes oci://HOST/REPOSITORY:TAG")
		}
		out := c.String("output")
		if out == "" || strings.HasPrefix(out, pack.Scheme) {
			return usagef("pull needs --output, a directory or .tar file")
		}
		from, err := openRegistry(c, c.Args().First())
		if err != nil {
			return err
		}
		im, err := from.Open(c.Context)
		if err != nil {
			return refused(c, err)
		}
		if c.Bool("layout") || isTar(out) {
			if err := verifySignature(c, im); err != nil {
				return err
			}
			return packOut(c, im, target{path: out}, nil)
		}
		return unpack(c, im, out)
	},
}

var unpackCommand = &cli.Command{
	Name:        "unpack",
	Usage:       "take the files of a model out of an OCI artifact",
	ArgsUsage:   "DIR|FILE.tar",
	Description: "The artifact is what pack or pull --layout made, or any other image layout with one artifact whose layers\nare single files with names.\n" + packCodes,
	Flags: []cli.Flag{
		&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`DIR` for the files"},
		verifyKeyFlag(), packJSONFlag(),
	},
	Action: func(c *cli.Context) error {
		if c.NArg() != 1 {
			return usagef("unpack takes one directory or tar file, got %d arguments", c.NArg())
		}
		if c.String("output") == "" {
			return usagef("unpack needs --output")
		}
		im, err := pack.OpenLayout(c.Context, c.Args().First())
		if err != nil {
			return refused(c, err)
		}
		return unpack(c, im, c.String("output"))
	},
}

// target is where an artifact goes: a registry, or a directory or tar file.
type target struct {
	registry *pack.Registry
	path     string
}

func isTar(path string) bool { return strings.EqualFold(filepath.Ext(path), ".tar") }

func packTarget(c *cli.Context) (target, error) {
	out := c.String("output")
	if out == "" {
		return target{}, usagef("pack needs --output, a directory, a .tar file or oci://HOST/REPOSITORY:TAG")
	}
	if strings.HasPrefix(out, pack.Scheme) {
		r, err := openRegistry(c, out)
		return target{registry: r}, err
	}
	return target{path: out}, nil
}

func openRegistry(c *cli.Context, name string) (*pack.Registry, error) {
	opt := pack.RegistryOptions{UserAgent: "phi3conv/" + versionString()}
	if c.IsSet("plain-http") {
		plain := c.Bool("plain-http")
		opt.PlainHTTP = &plain
	}
	return pack.OpenRegistry(name, opt)
}

func sameFile(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

func filesSize(files []pack.File) (n int64, err error) {
	for _, f := range files {
		info, err := os.Stat(f.Path)
		if err != nil {
			return 0, err
		}
		n += info.Size()
	}
	return n, nil
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

// packOut signs the artifact, if wanted, and writes or sends it.
func packOut(c *cli.Context, im *pack.Image, to target, left []string) error {
	if path := c.String("sign-key"); path != "" {
		key, err := pack.ReadPrivateKey(path)
		if err != nil {
			return err
		}
		reference := ""
		if to.registry != nil {
			reference = to.registry.Name()
		}
		if err := im.Sign(c.Context, key, reference); err != nil {
			return refused(c, err)
		}
	}
	start := time.Now()
	what := "writing"
	if to.registry != nil {
		what = "sending"
	}
	bar := newProgress(c.App.ErrWriter, what, im.Size())
	var err error
	switch {
	case to.registry != nil:
		to.path = to.registry.String()
		err = im.Push(c.Context, to.registry, bar.set)
	case isTar(to.path):
		err = im.WriteTar(c.Context, to.path, bar.set)
	default:
		err = im.WriteLayout(c.Context, to.path, bar.set)
	}
	bar.done()
	if err != nil {
		return refused(c, err)
	}
	return printArtifact(c, im, to.path, left, false, start)
}

func verifySignature(c *cli.Context, im *pack.Image) error {
	path := c.String("verify-key")
	if path == "" {
		return nil
	}
	var key crypto.PublicKey
	key, err := pack.ReadPublicKey(path)
	if err == nil {
		err = im.Verify(c.Context, key)
	}
	return refused(c, err)
}

// unpack verifies the artifact, if wanted, and writes its files.
func unpack(c *cli.Context, im *pack.Image, dir string) error {
	if err := verifySignature(c, im); err != nil {
		return err
	}
	start := time.Now()
	bar := newProgress(c.App.ErrWriter, "fetching", im.Size())
	_, err := im.Unpack(c.Context, dir, bar.set)
	bar.done()
	if err != nil {
		return refused(c, err)
	}
	return printArtifact(c, im, dir, nil, true, start)
}

type artifactJSON struct {
	Output    string      `json:"output"`
	Digest    string      `json:"digest"`
	Type      string      `json:"type"` // of the manifest's configuration
	Bytes     int64       `json:"bytes"`
	Files     []layerJSON `json:"files"`
	Left      []string    `json:"left,omitempty"`      // files of the directory that were not packed
	Signature string      `json:"signature,omitempty"` // digest of the signatures' manifest
	Verified  bool        `json:"verified"`            // a signature was asked for and is right
	Seconds   float64     `json:"seconds"`
}

type layerJSON struct {
	Path   string `json:"path"`
	Role   string `json:"role,omitempty"`
	Bytes  int64  `json:"bytes"`
	Type   string `json:"type"`
	Digest string `json:"digest"`
}

// printArtifact prints what an artifact has. Unpacked files are named with their directory.
func printArtifact(c *cli.Context, im *pack.Image, out string, left []string, unpacked bool, start time.Time) error {
	r := artifactJSON{Output: out, Digest: im.Desc.Digest.String(), Type: im.Manifest.Config.MediaType, Bytes: im.Size(), Left: left,
		Verified: c.String("verify-key") != "", Seconds: time.Since(start).Seconds()}
	if im.Signature != nil {
		r.Signature = im.Signature.Desc.Digest.String()
	}
	layers, err := im.Layers()
	if err != nil && unpacked {
		return err
	}
	for _, l := range layers { // none where another tool made an artifact that is only passed on
		path := l.Name
		if unpacked {
			path = filepath.Join(out, filepath.FromSlash(path))
		}
		r.Files = append(r.Files, layerJSON{path, string(l.Role), l.Size, l.MediaType, l.Digest.String()})
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, r)
	}
	t := newTable(c.App.Writer)
	for _, f := range r.Files {
		t.row(f.Role, printable(f.Path), byteSize(f.Bytes), f.Digest)
	}
	if err := t.flush(); err != nil {
		return err
	}
	p := &printer{w: c.App.Writer}
	if len(left) > 0 {
		p.printf("left out: %s\n", strings.Join(left, ", "))
	}
	signed := ""
	switch {
	case r.Verified:
		signed = ", signature verified"
	case im.Signature != nil:
		signed = ", signed"
	}
	p.printf("%s: %s%s, %.1f s\n", out, r.Digest, signed, r.Seconds)
	return p.err
}
