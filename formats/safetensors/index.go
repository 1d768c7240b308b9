package safetensors

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/formats"
)

// The file names of the Hugging Face hub.
const (
	singleName = "model.safetensors"
	indexName  = "model.safetensors.index.json"
)

// OpenDir opens the weights of a model directory as published on the Hugging
// Face hub: the files that model.safetensors.index.json lists, or the single
// file model.safetensors. The caller closes the File.
//
// The index and its files must agree on every tensor. Its total_size is not
// looked at, since tools disagree about it. This is stricter than the Hugging
// Face loader: a file with a tensor that the index omits is refused.
func OpenDir(dir string) (*File, error) { return OpenDirIn(formats.Disk, dir) }

// OpenDirIn is [OpenDir] for a directory of which files may be elsewhere, but not the index.
func OpenDirIn(files formats.Files, dir string) (*File, error) {
	names, err := files.Names(dir)
	if err != nil {
		return nil, err
	}
	have := func(pattern string) bool {
		return slices.ContainsFunc(names, func(name string) bool {
			ok, _ := path.Match(pattern, name) // the patterns are well-formed
			return ok
		})
	}
	single, index := filepath.Join(dir, singleName), filepath.Join(dir, indexName)
	switch {
	case have(indexName):
		f, err := openIndex(files, index)
		if err != nil {
			return nil, err
		}
		if have(singleName) && !slices.ContainsFunc(f.Shards, func(s Shard) bool { return s.Path == single }) {
			_ = f.Close()
			return nil, &formats.Error{
				Path: index, Off: -1,
				What: singleName + " is there too, and the index does not list it; remove one of the two",
				Err:  ErrIndex,
			}
		}
		return f, nil
	case have(singleName):
		return OpenIn(files, single)
	}
	what := fmt.Sprintf("neither %s nor %s is there", indexName, singleName)
	switch {
	case have("pytorch_model*.bin"), have("pytorch_model.bin.index.json"):
		what += "; pytorch_model.bin is a pickle, which can run code when it is read, and is not supported: save " +
			"the model as safetensors"
	case have("model-*-of-*.safetensors"):
		what += ", though parts of a model are: the index is missing"
	}
	return nil, formats.WrapFile(ErrNoWeights, dir, what)
}

// openIndex opens the files that an index lists.
func openIndex(in formats.Files, index string) (f *File, err error) {
	info, err := os.Stat(index)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxHeader {
		return nil, formats.FileErrorf(index, -1, "file of %d bytes, an index has at most %d", info.Size(), maxHeader)
	}
	data, err := os.ReadFile(index)
	if err != nil {
		return nil, err
	}
	files, err := parseIndex(data)
	if err != nil {
		return nil, formats.WithPath(err, index)
	}

	set := &File{Metadata: make(map[string]string), byName: make(map[string]*Tensor)}
	defer func() {
		if err != nil {
			_ = set.Close()
		}
	}()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		shard := filepath.Join(filepath.Dir(index), name)
		f, err := OpenIn(in, shard)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, &formats.Error{
				Path: shard, Off: -1,
				What: fmt.Sprintf("the file is missing; %s lists %d files", indexName, len(files)), Err: ErrIndex,
			}
		} else if err != nil {
			return nil, err
		}
		set.close = append(set.close, f.close...)
		for _, t := range files[name] {
			if f.Tensor(t) == nil {
				return nil, &formats.Error{
					Path: shard, Off: -1,
					What: fmt.Sprintf("tensor %.80q is not in the file, %s says it is", t, indexName), Err: ErrIndex,
				}
			}
			set.byName[t] = f.Tensor(t)
		}
		for _, t := range f.Tensors {
			if set.byName[t.Name] != t {
				return nil, &formats.Error{
					Path: shard, Off: t.Offset,
					What: fmt.Sprintf("tensor %.80q: %s does not say that it is in this file", t.Name, indexName),
					Err:  ErrIndex,
				}
			}
		}
		for k, v := range f.Metadata {
			if _, ok := set.Metadata[k]; !ok {
				set.Metadata[k] = v
			}
		}
		s := f.Shards[0]
		s.First = len(set.Tensors)
		set.Shards = append(set.Shards, s)
		set.Tensors = append(set.Tensors, f.Tensors...)
	}
	return set, nil
}

// parseIndex returns the names of the tensors in each file that an index lists.
func parseIndex(data []byte) (files map[string][]string, err error) {
	p, err := newParser(data, 0)
	if err != nil {
		return nil, err
	}
	files = make(map[string][]string)
	err = p.object(func(field string) error {
		if field != "weight_map" {
			return p.skip()
		}
		return p.object(func(tensor string) error {
			file, err := p.str()
			if err != nil {
				return err
			}
			if len(file) > 255 || strings.ContainsAny(file, "/\\:\x00") || !strings.HasSuffix(file, ".safetensors") ||
				strings.HasPrefix(file, "..") {
				return p.errorf(
					"tensor %.80q: file %.80q, must be the name of a .safetensors file in the same directory", tensor,
					file)
			}
			files[file] = append(files[file], tensor)
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	if rest := strings.TrimLeft(string(data[p.dec.InputOffset():]), " \t\r\n"); rest != "" {
		return nil, p.errorf("%.8q after the JSON", rest)
	}
	if len(files) == 0 {
		return nil, p.errorf("weight_map is missing or empty")
	}
	return files, nil
}
