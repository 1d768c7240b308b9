// Package page is the page of the server: files that are part of the program, and need nothing but the server's API.
package page

import (
	"bytes"
	"embed"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed static
var static embed.FS

// index is the file of "/": it names the others by relative paths, so that the server may be below any path of a proxy.
const index = "index.html"

// policy lets the page load what comes from this server, and nothing else. Scripts are files: none may be in the page,
// made of text, or set as HTML.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
	"require-trusted-types-for 'script'; trusted-types 'none'"

// types are those of the files, whatever the system thinks of them.
var types = map[string]string{
	".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml",
}

// file returns the name of the file of a path of the server.
func file(url string) (name string, ok bool) {
	name, ok = strings.CutPrefix(url, "/page/")
	ok = ok && name != index
	if url == "/" {
		name, ok = index, true
	}
	name = "static/" + name
	if !ok || !fs.ValidPath(name) {
		return "", false
	}
	info, err := fs.Stat(static, name)
	return name, err == nil && info.Mode().IsRegular()
}

// Has reports whether a path is one of the page's. They hold nothing secret.
func Has(url string) bool {
	_, ok := file(url)
	return ok
}

// Serve writes the file of a path that the page has.
func Serve(w http.ResponseWriter, r *http.Request) {
	name, ok := file(r.URL.Path)
	if !ok {
		http.NotFound(w, r)
		return
	}
	b, err := static.ReadFile(name)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", types[path.Ext(name)]+"; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-cache") // another version of the program has other files
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(b))
}
