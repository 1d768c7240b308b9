package pack

import (
	"io"
	"strings"
	"time"

	"github.com/phi3conv/phi3conv/internal/report"
)

// Summary is what is in an artifact, for people and programs.
type Summary struct {
	Output    string        `json:"output"`
	Digest    string        `json:"digest"`
	Type      string        `json:"type"` // of the manifest's configuration
	Bytes     int64         `json:"bytes"`
	Files     []SummaryFile `json:"files"`
	Left      []string      `json:"left,omitempty"`      // files of the directory that were not packed
	Signature string        `json:"signature,omitempty"` // digest of the signatures' manifest
	Verified  bool          `json:"verified"`            // a signature was asked for and is right
	Seconds   float64       `json:"seconds"`
}

// SummaryFile is a file of an artifact.
type SummaryFile struct {
	Path   string `json:"path"`
	Role   string `json:"role,omitempty"`
	Bytes  int64  `json:"bytes"`
	Type   string `json:"type"`
	Digest string `json:"digest"`
}

// Summarize begins a summary of the artifact that was written to out since start. Its files are to be added.
func Summarize(im *Image, out string, start time.Time) *Summary {
	s := &Summary{
		Output: out, Digest: im.Desc.Digest.String(), Type: im.Manifest.Config.MediaType, Bytes: im.Size(),
		Files: []SummaryFile{}, Seconds: time.Since(start).Seconds(),
	}
	if im.Signature != nil {
		s.Signature = im.Signature.Desc.Digest.String()
	}
	return s
}

// Add adds a file at path.
func (s *Summary) Add(l Layer, path string) {
	s.Files = append(s.Files, SummaryFile{path, string(l.Role), l.Size, l.MediaType, l.Digest.String()})
}

// WriteText writes the summary for a terminal.
func (s *Summary) WriteText(w io.Writer) error {
	t := report.NewColumns(w)
	for _, f := range s.Files {
		t.Row(f.Role, report.Printable(f.Path), report.ByteSize(f.Bytes), f.Digest)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	p := &report.Printer{W: w}
	if len(s.Left) > 0 {
		p.Printf("left out: %s\n", strings.Join(s.Left, ", "))
	}
	signed := ""
	switch {
	case s.Verified:
		signed = ", signature verified"
	case s.Signature != "":
		signed = ", signed"
	}
	p.Printf("%s: %s%s, %.1f s\n", s.Output, s.Digest, signed, s.Seconds)
	return p.Err
}
