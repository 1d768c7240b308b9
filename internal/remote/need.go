package remote

import (
	"encoding/json"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/fetch"
)

const (
	singleName  = "model.safetensors"
	indexName   = "model.safetensors.index.json"
	adapterName = "adapter_model.safetensors"
)

// maxSmall is the size up to which a file that is no weights is fetched with a directory, in bytes.
const maxSmall = 64 << 20

// isSmall reports whether a file of a directory is read beside its weights: configuration, tokenizer, chat template,
// model card.
func isSmall(f *fetch.File) bool {
	name := f.Name
	if strings.Contains(name, "/") || f.Size > maxSmall {
		return false
	}
	switch strings.ToLower(path.Ext(name)) {
	case ".json":
		return name == indexName || !strings.HasSuffix(name, ".index.json")
	case ".model", ".jinja", ".tiktoken", ".txt":
		return true
	}
	return name == "README.md" || strings.HasPrefix(name, "LICENSE")
}

// small lists what is fetched of a directory before its weights: the index says which these are.
func (p *place) small() []*fetch.File {
	if p.file != "" {
		return nil
	}
	return p.filter(isSmall)
}

func (p *place) filter(keep func(f *fetch.File) bool) (list []*fetch.File) {
	for i := range p.files {
		if keep(&p.files[i]) {
			list = append(list, &p.files[i])
		}
	}
	return list
}

func (p *place) find(name string) *fetch.File {
	i := slices.IndexFunc(p.files, func(f fetch.File) bool { return f.Name == name })
	if i < 0 {
		return nil
	}
	return &p.files[i]
}

var splitName = regexp.MustCompile(`^(.*-)[0-9]{5}(-of-[0-9]{5}\.gguf)$`)

// parts lists a file, or all parts of the split set that it belongs to.
func (p *place) parts(name string) []*fetch.File {
	m := splitName.FindStringSubmatch(name)
	return p.filter(func(f *fetch.File) bool {
		other := splitName.FindStringSubmatch(f.Name)
		return f.Name == name || m != nil && other != nil && m[1] == other[1] && m[2] == other[2]
	})
}

// weights lists the files with weights: those that a checkpoint's index names, or its one file; else the only GGUF or
// .pmap file, which becomes the place's file. What [place.small] lists is there.
func (p *place) weights(need Need) ([]*fetch.File, error) {
	if p.file != "" {
		return p.parts(p.file), nil
	}
	index, single := p.find(indexName), p.find(singleName)
	if single == nil {
		single = p.find(adapterName)
	}
	switch {
	case need == Tokenizer && p.find("config.json") != nil:
		return nil, nil
	case index != nil:
		return p.indexed(index)
	case single != nil:
		return []*fetch.File{single}, nil
	}
	models := p.filter(func(f *fetch.File) bool {
		ext := strings.ToLower(path.Ext(f.Name))
		m := splitName.FindStringSubmatch(f.Name)
		return (ext == ".gguf" || ext == ".pmap") && (m == nil || strings.HasSuffix(m[1], "-") &&
			strings.Contains(f.Name, "-00001-of-"))
	})
	switch len(models) {
	case 0:
		return nil, p.noModel()
	case 1:
		p.file = models[0].Name
		return p.parts(p.file), nil
	}
	var names []string
	for _, f := range models {
		names = append(names, f.Name)
	}
	return nil, formats.FileErrorf(p.name, -1, "there are %d models: give one of them, such as %s/%s; there are %s",
		len(models), strings.TrimSuffix(p.name, "/"), names[0], strings.Join(names, ", "))
}

// noModel says what is there in place of weights.
func (p *place) noModel() error {
	var names []string
	for i := range p.files {
		names = append(names, p.files[i].Name)
		if strings.HasPrefix(p.files[i].Name, "pytorch_model") {
			return formats.FileErrorf(p.name, -1, "pytorch_model.bin is a pickle, which can run code when it is read, "+
				"and is not supported: save the model as safetensors")
		}
	}
	shown := strings.Join(names[:min(len(names), 5)], ", ")
	if len(names) > 5 {
		shown += ", …"
	}
	return formats.FileErrorf(p.name, -1, "no safetensors, GGUF or .pmap weights are there; there are %s", shown)
}

// indexed lists the files that an index names. Whether it is right, who opens it will see.
func (p *place) indexed(index *fetch.File) ([]*fetch.File, error) {
	data, err := os.ReadFile(p.local(index))
	if err != nil {
		return nil, err
	}
	var list struct {
		Map map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, formats.WrapFile(err, p.name+"/"+indexName, "not the JSON expected")
	}
	var files []*fetch.File
	for _, name := range list.Map {
		f := p.find(name)
		if f == nil {
			return nil, formats.FileErrorf(p.name, -1, "%s names the file %.80q, which is not there", indexName, name)
		}
		if !slices.Contains(files, f) {
			files = append(files, f)
		}
	}
	slices.SortFunc(files, func(a, b *fetch.File) int { return strings.Compare(a.Name, b.Name) })
	return files, nil
}

// Base returns the name of what a path or a name of a place leads to, for people.
func Base(name string) string {
	if !strings.Contains(name, "://") {
		return filepath.Base(name)
	}
	if strings.HasPrefix(name, "hf://") {
		if r, err := parseHub(name); err == nil && r.path == "" {
			return path.Base(r.repo)
		}
	}
	name, _, _ = strings.Cut(name, "?")
	base := path.Base(strings.TrimSuffix(name, "/"))
	if strings.HasPrefix(name, "oci://") {
		base, _, _ = strings.Cut(base, "@")
		base, _, _ = strings.Cut(base, ":")
	}
	return base
}
