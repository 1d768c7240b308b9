package quantize

import (
	"strings"

	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/internal/remote"
)

// Keys of the output's metadata that tell where the model was fetched from: the address of the repository, bucket,
// artifact or file; its commit or digest; the files with weights and their hashes.
const (
	keyOriginURL      = "phi3conv.source.url"
	keyOriginRevision = "phi3conv.source.revision"
	keyOriginFiles    = "phi3conv.source.files"
)

// recordOrigin puts the origin into the metadata, and into those keys that other programs know, unless the model says
// more there.
func recordOrigin(md *gguf.Metadata, o remote.Origin) {
	if o.URL == "" {
		return
	}
	for _, key := range []string{keyOriginURL, keyOriginRevision, keyOriginFiles} {
		md.Delete(key) // a source that was fetched has them
	}
	key := "general.source.url"
	if o.Revision != "" && strings.HasPrefix(o.URL, "http") {
		key = "general.source.repo_url"
	}
	if _, ok := md.Get(key); !ok {
		md.Set(key, o.URL)
	}
	md.Set(keyOriginURL, o.URL)
	if o.Revision != "" {
		md.Set(keyOriginRevision, o.Revision)
	}
	if len(o.Files) > 0 {
		md.Set(keyOriginFiles, o.Files)
	}
}

// originOf returns the origin that a file's metadata tell.
func originOf(md *gguf.Metadata) (o remote.Origin) {
	o.URL, _ = md.Str(keyOriginURL)
	o.Revision, _ = md.Str(keyOriginRevision)
	if v, ok := md.Get(keyOriginFiles); ok {
		o.Files, _ = v.([]string)
	}
	return o
}
