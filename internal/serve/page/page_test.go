package page

import (
	"io/fs"
	"net/http/httptest"
	"path"
	"regexp"
	"strings"
	"testing"
)

// Every file is served with its type and the policy, and nothing else is.
func TestServe(t *testing.T) {
	get := func(url string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		Serve(w, httptest.NewRequest("GET", url, nil))
		return w
	}
	urls := []string{"/"}
	files, err := fs.Glob(static, "static/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if name := path.Base(f); name != index {
			urls = append(urls, "/page/"+name)
		}
	}
	for _, url := range urls {
		w := get(url)
		h := w.Header()
		if w.Code != 200 || !Has(url) || h.Get("Content-Security-Policy") != policy ||
			types[path.Ext(url)]+"; charset=utf-8" != h.Get("Content-Type") && url != "/" ||
			h.Get("X-Content-Type-Options") != "nosniff" || strings.HasPrefix(h.Get("Content-Type"), ";") {
			t.Errorf("%s: %d %v", url, w.Code, h)
		}
	}
	for _, url := range []string{
		"/page/", "/page/none.js", "/page/index.html", "/page/../page.go", "/page", "/v1/models",
	} {
		if w := get(url); w.Code != 404 || Has(url) {
			t.Errorf("%s: %d", url, w.Code)
		}
	}
}

// No script makes HTML or code of a text, and no file names another server. The policy forbids both, too.
func TestSafe(t *testing.T) {
	unsafe := regexp.MustCompile(`(?i)(inner|outer)HTML|insertAdjacentHTML|document\.write|\beval\(|new Function|` +
		`setHTML|DOMParser|createContextualFragment|srcdoc|<script>|\son\w+=|\sstyle="|https?://[a-z]`)
	names := strings.NewReplacer(`xmlns="http://www.w3.org/2000/svg"`, "") // of a language, not of a server
	err := fs.WalkDir(static, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(static, name)
		for _, found := range unsafe.FindAllString(names.Replace(string(b)), -1) {
			t.Errorf("%s: %q", name, found)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
