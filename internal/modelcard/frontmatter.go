package modelcard

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/phi3conv/phi3conv/formats"
	"go.yaml.in/yaml/v3"
)

// addFrontMatter reads the YAML between the "---" lines at the start of a
// README.md, the model card of the hub.
func (c *Card) addFrontMatter(readme string, params int64) error {
	lines := strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(readme), "\n")
	if lines[0] != "---" {
		return nil
	}
	lines = lines[1:]
	for i, l := range lines {
		if l == "---" {
			lines = lines[:i]
			break
		}
	}
	text := strings.ReplaceAll(strings.Join(lines, "\n")+"\n", "\t", "  ") // tabs are not YAML, but occur
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		return formats.Wrapf(err, -1, "front matter")
	}
	if doc.Kind != yaml.DocumentNode || doc.Content[0].Kind != yaml.MappingNode {
		return nil // a text between rules, no front matter
	}
	return (&frontMatter{fields: mapping(doc.Content[0]), params: params}).fill(c)
}

// frontMatter is the YAML of a model card. Values are taken as they are written:
// "version: 1.0" is the text "1.0".
type frontMatter struct {
	fields map[string]*yaml.Node
	params int64
	err    error // the first value of the wrong kind
}

func mapping(n *yaml.Node) map[string]*yaml.Node {
	m := make(map[string]*yaml.Node)
	for i := 0; i+1 < len(n.Content); i += 2 {
		m[n.Content[i].Value] = resolve(n.Content[i+1])
	}
	return m
}

// resolve returns the node that an alias stands for.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

func (f *frontMatter) fill(c *Card) error {
	// The first of the names that is there wins. Those without a prefix are
	// llama.cpp's, "model_" marks its older ones, the last are found on the hub.
	for _, t := range []struct {
		to   *string
		keys []string
	}{
		{&c.Name, []string{"name", "model_name"}},
		{&c.Author, []string{"author", "model_author", "model_creator"}},
		{&c.Version, []string{"version", "model_version"}},
		{&c.Organization, []string{"organization", "model_organization"}},
		{&c.Description, []string{"description", "model_description"}},
		{&c.Finetune, []string{"finetune", "model_finetune"}},
		{&c.Basename, []string{"basename", "model_basename", "model_type"}},
		{&c.SizeLabel, []string{"size_label", "model_size_label"}},
		{&c.SourceURL, []string{"url", "model_url"}},
		{&c.SourceDOI, []string{"doi", "model_doi"}},
		{&c.SourceUUID, []string{"uuid", "model_uuid"}},
		{&c.SourceRepoURL, []string{"repo_url", "model_repo_url"}},
		{&c.LicenseName, []string{"license_name"}},
		{&c.LicenseLink, []string{"license_link"}},
	} {
		for _, key := range t.keys {
			if n := f.fields[key]; n != nil && *t.to == "" {
				*t.to = f.text(key, n)
			}
		}
	}
	c.License = strings.Join(f.texts("license"), ",")
	c.BaseModels = f.origins("base_model", "base_models", "base_model_sources")
	c.Datasets = f.origins("datasets", "dataset", "dataset_sources")
	c.Tags = append(f.texts("tags"), f.texts("pipeline_tag")...)
	c.Languages = append(f.texts("languages"), f.texts("language")...)
	return f.err
}

// text returns a scalar.
func (f *frontMatter) text(key string, n *yaml.Node) string {
	if isNull(n) {
		return ""
	}
	if n.Kind != yaml.ScalarNode && f.err == nil {
		f.err = formats.Errorf(-1, "front matter: %s is a list or a mapping, expected a text", key)
	}
	return n.Value
}

// texts returns a list of scalars; one alone is a list too.
func (f *frontMatter) texts(key string) []string {
	n := f.fields[key]
	switch {
	case n == nil || isNull(n):
		return nil
	case n.Kind != yaml.SequenceNode:
		return []string{f.text(key, n)}
	}
	var out []string
	for i, e := range n.Content {
		out = append(out, f.text(fmt.Sprintf("%s[%d]", key, i), resolve(e)))
	}
	return out
}

// hubURL matches the page of a model on the hub. (Data sets have a longer path.)
var hubURL = regexp.MustCompile(`^https?://huggingface.co/([^/]+/[^/]+)$`)

// origins returns the models or data sets under the first of the keys that is
// there: names on the hub, URLs, or mappings. It is nil if no key is there.
func (f *frontMatter) origins(keys ...string) []Origin {
	var key string
	var n *yaml.Node
	for _, key = range keys {
		if n = f.fields[key]; n != nil {
			break
		}
	}
	if n == nil {
		return nil
	}
	out := []Origin{}
	list := []*yaml.Node{n}
	switch {
	case isNull(n) || n.Kind == yaml.MappingNode:
		return out
	case n.Kind == yaml.SequenceNode:
		list = n.Content
	}
	for i, e := range list {
		key := fmt.Sprintf("%s[%d]", key, i)
		e = resolve(e)
		var o Origin
		if e.Kind == yaml.MappingNode {
			fields := mapping(e)
			for _, t := range o.fields() {
				if v := fields[t.key]; v != nil {
					*t.value = f.text(key+"."+t.key, v)
				}
			}
		} else {
			o = f.origin(f.text(key, e))
		}
		out = append(out, o)
	}
	return out
}

// origin makes an Origin of a name on the hub or a URL.
func (f *frontMatter) origin(id string) Origin {
	var o Origin
	for _, scheme := range []string{"http://", "https://", "ssh://"} {
		if strings.HasPrefix(id, scheme) {
			o.RepoURL = id
			m := hubURL.FindStringSubmatch(id)
			if m == nil {
				return o
			}
			id = m[1]
		}
	}
	n := parseName(id, f.params)
	o.Name, o.Organization, o.Version = title(n.full), title(n.organization), n.version
	if o.RepoURL == "" && n.organization != "" {
		o.RepoURL = "https://huggingface.co/" + n.organization + "/" + n.full
	}
	return o
}
