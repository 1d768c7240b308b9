package fetch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Client asks servers. Its token goes to the host of a request alone, never to one that this leads to.
type Client struct {
	Token     string // of "Authorization: Bearer"; "" for none
	UserAgent string
	// Explain says more about an answer that is not what was asked for. It may return nil.
	Explain func(r *http.Response) error
}

// transport waits for answers as long as a slow server may take, and not forever.
var transport = func() http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout = time.Minute
	t.MaxIdleConnsPerHost = 8
	t.DisableCompression = true // sizes and ranges are those of the file
	return t
}()

const maxRedirects = 10

// do sends a request. Redirects are followed; the token goes to no other host, and nothing to a server without TLS
// after one with it.
func (c *Client) do(r *http.Request) (*http.Response, error) {
	if c.UserAgent != "" {
		r.Header.Set("User-Agent", c.UserAgent)
	}
	if c.Token != "" {
		r.Header.Set("Authorization", "Bearer "+c.Token)
	}
	first := r.URL
	client := http.Client{Transport: transport, CheckRedirect: func(next *http.Request, via []*http.Request) error {
		switch {
		case len(via) > maxRedirects:
			return fmt.Errorf("more than %d redirects", maxRedirects)
		case via[len(via)-1].URL.Scheme == "https" && next.URL.Scheme != "https":
			return fmt.Errorf("%w: a redirect from https to %s://%s", ErrRefused, next.URL.Scheme, next.URL.Host)
		case !sameHost(first, next.URL):
			next.Header.Del("Authorization")
			next.Header.Del("Cookie")
			next.Header.Del("Referer")
		}
		return nil
	}}
	resp, err := client.Do(r)
	if err == nil {
		return resp, nil
	}
	var at *url.Error
	if errors.As(err, &at) {
		err = at.Err
	}
	if r.Context().Err() != nil || errors.Is(err, ErrRefused) {
		return nil, fmt.Errorf("%s: %w", clean(first), err)
	}
	return nil, Transient(fmt.Errorf("%s: %w: %w", first.Host, ErrNetwork, err))
}

func sameHost(a, b *url.URL) bool { return a.Scheme == b.Scheme && a.Host == b.Host }

// clean writes a URL without what may be secret: a password, and a query, such as a signature.
func clean(u *url.URL) string {
	c := *u
	c.User, c.RawQuery, c.Fragment = nil, "", ""
	return c.String()
}

// Get sends a GET request, and returns an answer with one of the codes. Others are errors.
func (c *Client) Get(ctx context.Context, url string, header http.Header, codes ...int) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	for key, values := range header {
		r.Header[key] = values
	}
	resp, err := c.do(r)
	if err != nil {
		return nil, err
	}
	for _, code := range codes {
		if resp.StatusCode == code {
			return resp, nil
		}
	}
	defer func() { _ = resp.Body.Close() }() // only read from
	return nil, c.failed(r.URL, resp)
}

// failed makes an error of an answer that was not asked for.
func (c *Client) failed(first *url.URL, resp *http.Response) error {
	at := clean(first)
	if !sameHost(first, resp.Request.URL) {
		at += ", which leads to " + resp.Request.URL.Host + " (where no token is sent)"
	}
	if c.Explain != nil {
		if err := c.Explain(resp); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
	said := resp.Status
	if s := strings.TrimSpace(string(text)); s != "" && !strings.HasPrefix(s, "<") {
		said += fmt.Sprintf(" (%q)", s)
	}
	switch code := resp.StatusCode; {
	case code == http.StatusNotFound || code == http.StatusGone:
		return fmt.Errorf("%s: %s: %w", at, said, fs.ErrNotExist)
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return fmt.Errorf("%s: %w: %s", at, ErrAccess, said)
	case code >= 500 || code == http.StatusRequestTimeout || code == http.StatusTooManyRequests:
		return Transient(fmt.Errorf("%s: %w: %s", at, ErrNetwork, said))
	}
	return fmt.Errorf("%s: %w: %s", at, ErrNetwork, said)
}

// maxJSON bounds an answer in JSON, in bytes.
const maxJSON = 64 << 20

// JSON decodes an answer into v and returns its header.
func (c *Client) JSON(ctx context.Context, url string, v any) (header http.Header, err error) {
	err = Again(ctx, func() (bool, error) {
		resp, err := c.Get(ctx, url, nil, http.StatusOK)
		if err != nil {
			return false, err
		}
		defer func() { _ = resp.Body.Close() }() // only read from
		header = resp.Header
		data, err := io.ReadAll(io.LimitReader(resp.Body, maxJSON))
		if err != nil {
			return false, Transient(fmt.Errorf("%s: %w: %w", url, ErrNetwork, err))
		}
		if err := json.Unmarshal(data, v); err != nil {
			return false, fmt.Errorf("%s: %w: not the JSON expected: %w", url, ErrNetwork, err)
		}
		return false, nil
	})
	return header, err
}

// Range opens n bytes of a URL from off on. etag, if not empty, is that of the content which the first bytes are from:
// another content is refused. size is the size of all. check, if not nil, looks at the answer's header.
func (c *Client) Range(
	ctx context.Context, url, etag string, size, off, n int64, check func(http.Header) error,
) (io.ReadCloser, error) {
	header := http.Header{}
	codes := []int{http.StatusOK}
	if off > 0 || n < size {
		header.Set("Range", fmt.Sprintf("bytes=%d-%d", off, off+n-1))
		codes = append(codes, http.StatusPartialContent)
	}
	resp, err := c.Get(ctx, url, header, codes...)
	if err != nil {
		return nil, err
	}
	at := clean(resp.Request.URL)
	if err := checkRange(resp, etag, size, off, check); err != nil {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	if resp.StatusCode == http.StatusOK && off > 0 { // a server without ranges sends all of it
		if _, err := io.CopyN(io.Discard, resp.Body, off); err != nil {
			_ = resp.Body.Close()
			return nil, Transient(fmt.Errorf("%s: %w: %w", at, ErrNetwork, err))
		}
	}
	return resp.Body, nil
}

// checkRange refuses an answer that is not of the content that was announced.
func checkRange(resp *http.Response, etag string, size, off int64, check func(http.Header) error) error {
	if check != nil {
		if err := check(resp.Header); err != nil {
			return err
		}
	}
	if got := resp.Header.Get("ETag"); etag != "" && got != "" && got != etag {
		return fmt.Errorf("%w: it has changed: its ETag is %s, it was %s", ErrRefused, got, etag)
	}
	total := resp.ContentLength
	if resp.StatusCode == http.StatusPartialContent {
		span, all, _ := strings.Cut(resp.Header.Get("Content-Range"), "/")
		if !strings.HasPrefix(span, fmt.Sprintf("bytes %d-", off)) {
			return fmt.Errorf("%w: asked for bytes from %d on, got %q", ErrRefused, off, span)
		}
		total = -1
		if v, err := strconv.ParseInt(all, 10, 64); err == nil {
			total = v
		}
	}
	if total >= 0 && total != size {
		return fmt.Errorf("%w: it has %d bytes, expected %d", ErrRefused, total, size)
	}
	return nil
}
