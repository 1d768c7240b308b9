package gguf

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/phi3conv/phi3conv/formats"
)

// The keys of a split set. Each file has them; the other metadata are in the first
// file.
const (
	splitNoKey      = "split.no"            // uint16, number of the file from 0
	splitCountKey   = "split.count"         // uint16, number of files
	splitTensorsKey = "split.tensors.count" // int32, number of tensors in all files
)

var splitKeys = []string{splitNoKey, splitCountKey, splitTensorsKey}

const maxShards = 65535

var splitName = regexp.MustCompile(`^(.*)-(\d{5})-of-(\d{5})\.gguf$`)

// splitPath returns the name of file number no (from 0) of count, given the
// name that the whole would have.
func splitPath(path string, no, count int) string {
	return fmt.Sprintf("%s-%05d-of-%05d.gguf", strings.TrimSuffix(path, ".gguf"), no+1, count)
}

// openSet opens the set of count files that f belongs to. The result owns f; after
// an error f is closed.
func openSet(files formats.Files, f *File, count uint64) (*File, error) {
	set := &File{byName: make(map[string]*Tensor)}
	if err := set.addAll(files, f, count); err != nil {
		_ = f.Close()
		_ = set.Close()
		return nil, err
	}
	return set, nil
}

// addAll adds the shards to an empty set: f, and the others, which it opens.
func (set *File) addAll(files formats.Files, f *File, count uint64) error {
	path := f.Shards[0].Path
	dir, base := filepath.Split(path)
	m := splitName.FindStringSubmatch(base)
	if m == nil {
		return splitError(path, "%s is %d, but the name does not end like -00001-of-%05d.gguf",
			splitCountKey, count, count)
	}
	own, _ := strconv.Atoi(m[2]) // five digits
	total, _ := strconv.Atoi(m[3])
	if uint64(total) != count {
		return splitError(path, "%s is %d, but the name says %d", splitCountKey, count, total)
	}
	if own < 1 || own > total {
		return splitError(path, "the name says that it is number %d of %d", own, total)
	}
	for no := range total {
		if no == own-1 {
			if err := set.add(f, no, total); err != nil {
				return err
			}
			continue
		}
		path := splitPath(dir+m[1], no, total)
		shard, err := openOne(files, path)
		if errors.Is(err, fs.ErrNotExist) {
			return splitError(path, "the file is missing; %s is number %d of %d", base, own, total)
		} else if err != nil {
			return err
		}
		if err := set.add(shard, no, total); err != nil {
			_ = shard.Close()
			return err
		}
	}
	if n, ok := set.Metadata.Uint(splitTensorsKey); !ok || n != uint64(len(set.Tensors)) {
		return splitError(set.Shards[0].Path, "%s is %s, but the files have %d",
			splitTensorsKey, set.show(splitTensorsKey), len(set.Tensors))
	}
	return nil
}

// add adds the next shard, which must be number no (from 0) of total.
func (set *File) add(shard *File, no, total int) error {
	s := shard.Shards[0]
	if n, ok := shard.Metadata.Uint(splitCountKey); !ok || n != uint64(total) {
		return splitError(s.Path, "%s is %s, must be %d", splitCountKey, shard.show(splitCountKey), total)
	}
	if n, ok := shard.Metadata.Uint(splitNoKey); !ok || n != uint64(no) {
		return splitError(s.Path, "%s is %s, must be %d", splitNoKey, shard.show(splitNoKey), no)
	}
	for _, t := range shard.Tensors {
		if other := set.byName[t.Name]; other != nil {
			return splitError(s.Path, "tensor %q is also in %s", t.Name, other.Path)
		}
		set.byName[t.Name] = t
	}
	if no == 0 {
		set.Version, set.Alignment, set.Metadata = shard.Version, shard.Alignment, shard.Metadata
	}
	s.First = len(set.Tensors)
	set.Shards = append(set.Shards, s)
	set.Tensors = append(set.Tensors, shard.Tensors...)
	set.close = append(set.close, shard.close...)
	return nil
}

func splitError(path, format string, args ...any) error {
	return formats.WrapFile(ErrSplit, path, fmt.Sprintf(format, args...))
}

// show returns the value of a key for an error.
func (f *File) show(key string) string {
	v, ok := f.Metadata.Get(key)
	if !ok {
		return "missing"
	}
	return show(v)
}
