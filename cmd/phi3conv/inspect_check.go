package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/phi3conv/phi3conv/formats/pmap"
	"github.com/urfave/cli/v2"
)

type checkJSON struct {
	Path    string   `json:"path"`
	Bytes   int64    `json:"bytes"`
	SHA256  string   `json:"sha256"` // the root of the file's tree
	Damage  []string `json:"damage"`
	Seconds float64  `json:"seconds"`
}

// inspectCheck compares a .pmap file with its checksums.
func inspectCheck(c *cli.Context, path string, threads int) error {
	f, err := pmap.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read from
	root, err := f.Root()
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	r := checkJSON{Path: path, Bytes: info.Size(), SHA256: hex.EncodeToString(root[:]), Damage: []string{}}
	start := time.Now()
	bar := newProgress(c.App.ErrWriter, "checking", r.Bytes)
	err = f.Check(c.Context, threads, bar.set)
	bar.done()
	r.Seconds = time.Since(start).Seconds()
	if err != nil {
		if !errors.Is(err, pmap.ErrDamaged) {
			return err
		}
		r.Damage = strings.Split(err.Error(), "\n")
	}
	switch {
	case c.Bool("json"):
		err = printJSON(c.App.Writer, r)
	case len(r.Damage) > 0:
		_, err = fmt.Fprintf(c.App.Writer, "%s\n", strings.Join(r.Damage, "\n"))
	default:
		_, err = fmt.Fprintf(c.App.Writer, "%s: whole; SHA-256 %s; %s, %s/s\n", path, r.SHA256, byteSize(r.Bytes), humanize.IBytes(uint64(float64(r.Bytes)/r.Seconds)))
	}
	if err == nil && len(r.Damage) > 0 {
		err = errCheckFailed
	}
	return err
}
