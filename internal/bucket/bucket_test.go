package bucket

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/phi3conv/phi3conv/internal/fetch"
	"github.com/phi3conv/phi3conv/internal/testbucket"
)

func open(t *testing.T) (*testbucket.Service, *Client) {
	t.Helper()
	leastPart = 128 << 10
	s := testbucket.Start(t)
	c, err := Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

func random(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b)
	return b
}

// What is written by several threads, in about its order, is the object when it is committed, and in a few parts of
// memory until then.
func TestUpload(t *testing.T) {
	s, c := open(t)
	data := random(10*(128<<10) + 12345)
	u, err := c.Create(t.Context(), Name{"models", "dir/a.gguf"}, int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	const piece = 1<<14 + 1
	var mu sync.Mutex
	var wg sync.WaitGroup
	next, most := 0, 0
	for range 4 {
		wg.Go(func() {
			for {
				mu.Lock()
				off := next
				next += piece
				mu.Unlock()
				if off >= len(data) {
					return
				}
				if _, err := u.WriteAt(data[off:min(off+piece, len(data))], int64(off)); err != nil {
					t.Error(err)
					return
				}
				u.mu.Lock()
				most = max(most, len(u.live))
				u.mu.Unlock()
			}
		})
	}
	wg.Wait()
	if s.Get("dir/a.gguf") != nil {
		t.Error("the object is there before it is complete")
	}
	if err := u.Commit(); err != nil {
		t.Fatal(err)
	}
	u.Abort()
	if !bytes.Equal(s.Get("dir/a.gguf"), data) || most > liveParts+4 {
		t.Errorf("%d bytes, expected %d; %d parts in memory", len(s.Get("dir/a.gguf")), len(data), most)
	}
}

// Writers that begin with a late part do not wait for the early ones for ever.
func TestUploadBackwards(t *testing.T) {
	s, c := open(t)
	data := random(4*(128<<10) + 1)
	u, err := c.Create(t.Context(), Name{"models", "a"}, int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	for end := len(data); end > 0; end -= 1 << 16 {
		off := max(0, end-1<<16)
		if _, err := u.WriteAt(data[off:end], int64(off)); err != nil {
			t.Fatal(err)
		}
	}
	if err := u.Commit(); err != nil || !bytes.Equal(s.Get("a"), data) {
		t.Error(err)
	}
}

// An upload that fails, is cut off or is not complete leaves nothing, neither an object nor parts.
func TestUploadFails(t *testing.T) {
	data := random(3 * (128 << 10))
	for name, c := range map[string]struct {
		fail   func(r *http.Request) string
		cancel bool
		size   int
		want   string
	}{
		"a part":     {fail: onPart("InternalError"), size: len(data), want: "InternalError because of the test"},
		"no access":  {fail: onPart("AccessDenied"), size: len(data), want: "access was denied: AccessDenied"},
		"cancelled":  {cancel: true, size: len(data), want: "canceled"},
		"incomplete": {size: len(data) - 1, want: "not all of it was written"},
	} {
		s, client := open(t)
		s.Fail = c.fail
		ctx, cancel := context.WithCancel(t.Context())
		u, err := client.Create(ctx, Name{"models", "a"}, int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		_, err = u.WriteAt(data[:c.size], 0)
		if c.cancel {
			cancel()
		}
		if err == nil {
			err = u.Commit()
		}
		u.Abort()
		cancel()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, expected %q", name, err, c.want)
		}
		if begun, open := s.Uploads(); begun != 1 || open != 0 || s.Get("a") != nil {
			t.Errorf("%s: %d uploads of %d are left, objects %v", name, open, begun, s.Keys())
		}
	}
}

func onPart(code string) func(r *http.Request) string {
	return func(r *http.Request) string {
		if r.Method == http.MethodPut && r.URL.Query().Get("partNumber") == "2" {
			return code
		}
		return ""
	}
}

// What a service refuses is named, and of the right kind.
func TestErrors(t *testing.T) {
	for name, c := range map[string]struct {
		code string
		at   Name
		kind error
		want string
	}{
		"no key":    {"", Name{"models", "none"}, fs.ErrNotExist, "s3://models/none"},
		"no bucket": {"", Name{"other", "a"}, fs.ErrNotExist, "there is no bucket other"},
		"no access": {"AccessDenied", Name{"models", "a"}, fetch.ErrAccess, "AccessDenied because of the test"},
		"wrong key": {"InvalidAccessKeyId", Name{"models", "a"}, fetch.ErrAccess, "InvalidAccessKeyId"},
		"versitygw": {"XAdminUserNotFound", Name{"models", "a"}, fetch.ErrAccess, "XAdminUserNotFound"},
		"secret":    {"SignatureDoesNotMatch", Name{"models", "a"}, fetch.ErrAccess, "SignatureDoesNotMatch"},
		"broken":    {"InternalError", Name{"models", "a"}, fetch.ErrNetwork, "InternalError"},
	} {
		s, client := open(t)
		s.Put("a", []byte("hello"))
		s.Fail = func(*http.Request) string { return c.code }
		_, err := client.Range(t.Context(), c.at, "", 0, 5)
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, expected %q", name, err, c.want)
		}
		if _, err := NewStore(t.Context()).Beginning(c.at.String(), 4); name != "no key" && !errors.Is(err, c.kind) {
			t.Errorf("%s: beginning: %v", name, err)
		}
	}
}

// An object that has changed since it was listed is refused.
func TestChanged(t *testing.T) {
	s, c := open(t)
	s.Put("dir/a", []byte("hello"))
	list, err := c.List(t.Context(), Name{"models", "dir/"})
	if err != nil || len(list) != 1 || list[0].Size != 5 {
		t.Fatal(list, err)
	}
	r, err := c.Range(t.Context(), Name{"models", "dir/a"}, list[0].ETag, 1, 3)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); string(got) != "ell" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	s.Put("dir/a", []byte("other"))
	if _, err := c.Range(t.Context(), Name{"models", "dir/a"}, list[0].ETag, 1, 3); !errors.Is(err, fetch.ErrRefused) {
		t.Error(err)
	}
}
