package remote

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/phi3conv/phi3conv/internal/fetch"
	"github.com/phi3conv/phi3conv/internal/usage"
)

// openURL asks for one file. What is in the cache is kept under the URL and what the server says of its version.
func openURL(ctx context.Context, name string, opt Options) (*place, error) {
	u, err := url.Parse(name)
	if err != nil {
		return nil, usage.Errorf("%s: %w", name, err)
	}
	base := path.Base(u.Path)
	switch {
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return nil, usage.Errorf("%s: what comes over HTTP can be changed on the way: use https://", name)
	case u.Host == "" || !isLocal(base) || base == "." || strings.HasSuffix(u.Path, "/"):
		return nil, usage.Errorf("%s: expected https://HOST/PATH/FILE", name)
	}
	client := &fetch.Client{UserAgent: opt.UserAgent}
	size, header, err := sizeOf(ctx, client, name)
	if err != nil {
		return nil, err
	}
	etag := header.Get("ETag")
	version := etag + "\n" + header.Get("Last-Modified")
	if version == "\n" {
		version = rand.Text() // another time it may be another file
	}
	dir, err := cacheDir("https", id(name, version, strconv.FormatInt(size, 10)))
	if err != nil {
		return nil, err
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	f := fetch.File{Name: base, Size: size, Hash: fetch.Hash{Kind: fetch.ETag, Hex: strings.Trim(etag, `"`)},
		Range: func(ctx context.Context, off, n int64) (io.ReadCloser, error) {
			return client.Range(ctx, name, etag, size, off, n, nil)
		}}
	return &place{origin: Origin{URL: u.String()}, files: []fetch.File{f}, dir: dir, file: base, save: saveBeside(dir)},
		nil
}

// id names a directory of the cache.
func id(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\n")))
	return hex.EncodeToString(sum[:16])
}

// isLoopback reports whether a host is this machine.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// sizeOf asks for a file's first byte, which tells the size of all. Not every server answers HEAD.
func sizeOf(ctx context.Context, c *fetch.Client, url string) (size int64, header http.Header, err error) {
	err = fetch.Again(ctx, func() (bool, error) {
		resp, err := c.Get(ctx, url, http.Header{"Range": {"bytes=0-0"}}, http.StatusOK, http.StatusPartialContent)
		if err != nil {
			return false, err
		}
		_ = resp.Body.Close()
		header, size = resp.Header, resp.ContentLength
		if resp.StatusCode == http.StatusPartialContent {
			_, all, _ := strings.Cut(header.Get("Content-Range"), "/")
			if size, err = strconv.ParseInt(all, 10, 64); err != nil {
				size = -1
			}
		}
		if size < 0 {
			return false, fmt.Errorf("%w: the server does not say how long the file is", fetch.ErrNetwork)
		}
		return false, nil
	})
	return size, header, err
}
