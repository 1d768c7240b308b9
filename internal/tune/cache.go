package tune

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Choice is the form that was found to be the fastest for a use of a format on a machine.
type Choice struct {
	CPU     string `json:"cpu"`
	Version string `json:"version"` // of the program
	Set     string `json:"set"`     // of kernels
	Threads int    `json:"threads"`
	Format  string `json:"format"`
	Use     string `json:"use"`

	Form    string    `json:"form"`
	Default string    `json:"default"`
	Ratio   float64   `json:"time_ratio"`       // of the form's time to the default's
	Err     float64   `json:"time_ratio_error"` // its standard error
	Rounds  int       `json:"rounds"`           // of the measurement
	Sure    bool      `json:"sure"`             // false if the machine was too busy to tell
	Tries   int       `json:"tries"`            // measurements so far
	Time    time.Time `json:"time"`
}

// key is what a choice is for.
type key struct {
	cpu, version, set string
	threads           int
	format, use       string
}

func (c *Choice) key() key { return key{c.CPU, c.Version, c.Set, c.Threads, c.Format, c.Use} }

const (
	schema     = 1
	maxTries   = 4                   // to become sure
	maxAge     = 60 * 24 * time.Hour // after that a choice is measured again
	maxChoices = 1000                // in the file, the newest ones
	maxBytes   = 1 << 20             // of the file
)

// due reports whether the choice is to be measured again: it is old, or, for a few times, if it is not sure.
func (c *Choice) due(now time.Time) bool {
	age := now.Sub(c.Time)
	return age > maxAge || age < -time.Hour || !c.Sure && c.Tries < maxTries
}

// file is the content of the cache.
type file struct {
	Schema  int      `json:"schema"`
	Choices []Choice `json:"choices"`
}

// Path returns where choices are kept: forms.json in the directory phi3conv of the user's cache.
func Path() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "phi3conv", "forms.json"), nil
}

// load reads the cache. One that is not there or damaged is empty. It is an error if the file cannot be read, or if a
// later version of the program wrote it.
func load(path string) (map[key]Choice, error) {
	all := map[key]Choice{}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return all, nil
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no regular file", path)
	case info.Size() > maxBytes:
		return all, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var f file
	if json.Unmarshal(text, &f) != nil {
		return all, nil
	}
	if f.Schema > schema {
		return nil, fmt.Errorf("%s has schema %d, which this version does not know", path, f.Schema)
	}
	for _, c := range f.Choices {
		all[c.key()] = c
	}
	return all, nil
}

// writable reports why the cache cannot be written.
func writable(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), temporary)
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

const temporary = ".forms-*.tmp"

// merge adds choices to the cache, which another process may have changed meanwhile.
func merge(path string, choices map[key]Choice) error {
	all, err := load(path)
	if err != nil {
		return err
	}
	maps.Copy(all, choices)
	return save(path, all)
}

// save writes the cache: a file of another name, which is renamed. It is not synced to the disk, since nothing is lost
// with it.
func save(path string, all map[key]Choice) error {
	f := file{Schema: schema, Choices: sorted(all)}
	text, err := json.MarshalIndent(f, "", "\t")
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), temporary)
	if err != nil {
		return err
	}
	_, err = tmp.Write(append(text, '\n'))
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
	}
	return err
}

// sorted returns the newest choices first.
func sorted(all map[key]Choice) []Choice {
	list := make([]Choice, 0, len(all))
	for _, c := range all {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b Choice) int {
		if d := b.Time.Compare(a.Time); d != 0 {
			return d
		}
		return slices.Compare([]string{a.Use, a.Format, a.Set}, []string{b.Use, b.Format, b.Set})
	})
	return list[:min(len(list), maxChoices)]
}
