package lint

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/phi3conv/phi3conv/internal/report"
)

// SARIF 2.1.0, as far as code scanning has a use for it. Each check that was run is a rule.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool struct {
			Driver sarifDriver `json:"driver"`
		} `json:"tool"`
		ColumnKind string        `json:"columnKind"`
		Results    []sarifResult `json:"results"`
	}
	sarifDriver struct {
		Name           string      `json:"name"`
		Version        string      `json:"version"`
		InformationURI string      `json:"informationUri"`
		Rules          []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID      string    `json:"id"`
		Short   sarifText `json:"shortDescription"`
		Full    sarifText `json:"fullDescription"`
		Help    sarifText `json:"help"`
		HelpURI string    `json:"helpUri"`
		Default struct {
			Level string `json:"level"`
		} `json:"defaultConfiguration"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		RuleID       string            `json:"ruleId"`
		RuleIndex    int               `json:"ruleIndex"`
		Level        string            `json:"level"`
		Message      sarifText         `json:"message"`
		Locations    []sarifLocation   `json:"locations"`
		Fingerprints map[string]string `json:"partialFingerprints"`
	}
	sarifLocation struct {
		Physical struct {
			Artifact struct {
				URI string `json:"uri"`
			} `json:"artifactLocation"`
			Region struct {
				StartLine int `json:"startLine"`
			} `json:"region"`
		} `json:"physicalLocation"`
	}
)

const (
	sarifSchema = "https://json.schemastore.org/sarif-2.1.0.json"
	homepage    = "https://github.com/phi3conv/phi3conv"
)

// sarifLevels are SARIF's names of severities.
var sarifLevels = map[Severity]string{Error: "error", Warning: "warning", Info: "note"}

// WriteSARIF writes the report for code scanning. version is the program's. A finding is at the first line of the
// GGUF file, of the file of the checkpoint that it is about, or of its config.json; the path is relative to the working
// directory where it is below it.
func (r *Report) WriteSARIF(w io.Writer, version string) error {
	run := sarifRun{ColumnKind: "utf16CodeUnits", Results: []sarifResult{}}
	run.Tool.Driver = sarifDriver{Name: "phi3conv", Version: version, InformationURI: homepage}
	index := map[string]int{}
	for i, c := range r.ran {
		index[c.Code] = i
		rule := sarifRule{
			ID: c.Code, Short: sarifText{c.Title}, Full: sarifText{c.Why}, Help: sarifText{c.Fix}, HelpURI: homepage,
		}
		rule.Default.Level = sarifLevels[c.Severity]
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, rule)
	}
	seen := map[string]int{}
	for _, f := range r.Findings {
		result := sarifResult{
			RuleID: f.Code, RuleIndex: index[f.Code], Level: sarifLevels[f.Severity],
			Locations: make([]sarifLocation, 1),
			Message:   sarifText{report.Printable(f.Subject) + ": " + report.Printable(f.Message)},
		}
		at := &result.Locations[0].Physical
		at.Artifact.URI, at.Region.StartLine = r.uri(f.Subject), 1
		// The same for the same finding of another run, whatever numbers are in its message.
		sum := sha256.Sum256([]byte(f.Code + "\n" + at.Artifact.URI + "\n" + f.Subject))
		print := hex.EncodeToString(sum[:8])
		seen[print]++
		result.Fingerprints = map[string]string{"primaryLocationLineHash": fmt.Sprintf("%s:%d", print, seen[print])}
		run.Results = append(run.Results, result)
	}
	return report.WriteJSON(w, sarifLog{sarifSchema, "2.1.0", []sarifRun{run}})
}

// uri returns where a finding is shown.
func (r *Report) uri(subject string) string {
	path := r.Path
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		name := "config.json"
		if filepath.Ext(subject) != "" && filepath.Base(subject) == subject {
			if info, err := os.Stat(filepath.Join(path, subject)); err == nil && info.Mode().IsRegular() {
				name = subject
			}
		}
		path = filepath.Join(path, name)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return (&url.URL{Path: filepath.ToSlash(path)}).String()
	}
	if dir, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(dir, abs); err == nil && filepath.IsLocal(rel) {
			return (&url.URL{Path: filepath.ToSlash(rel)}).String()
		}
	}
	return (&url.URL{Scheme: "file", Path: "/" + strings.TrimPrefix(filepath.ToSlash(abs), "/")}).String()
}
