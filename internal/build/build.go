// Package build says which program runs: its version, revision and Go, as the Go tool recorded them.
package build

import (
	"runtime"
	"runtime/debug"
)

// Info is what is known about the program.
type Info struct {
	Schema   int    `json:"schema"`
	Version  string `json:"version"`
	Module   string `json:"module,omitempty"`
	Revision string `json:"revision,omitempty"` // of the version control system
	Modified bool   `json:"modified,omitempty"` // since that revision
	Go       string `json:"go"`
	Platform string `json:"platform"`
	Kernels  string `json:"kernels"` // the set in use
}

// Read reads it. stamped is the version that a release build has set, "" for none.
func Read(stamped, kernels string) Info {
	b := Info{
		Schema: 1, Version: stamped, Kernels: kernels,
		Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	recorded := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		b.Module, recorded = info.Main.Path, info.Main.Version
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Revision = s.Value
			case "vcs.modified":
				b.Modified = s.Value == "true"
			}
		}
		if recorded == "" || recorded == "(devel)" {
			recorded = b.devel()
		}
	}
	if b.Version == "" {
		b.Version = recorded
	}
	return b
}

// devel names a build without a version by its revision.
func (b *Info) devel() string {
	const short = 12
	switch {
	case len(b.Revision) <= short:
		return "devel"
	case b.Modified:
		return "devel-" + b.Revision[:short] + "-modified"
	}
	return "devel-" + b.Revision[:short]
}
