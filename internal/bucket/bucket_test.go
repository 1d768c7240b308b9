package bucket

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

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

// Parts are compared with their checksums, or with their hashes where the service knows no checksums: bytes that change
// on their way make no object.
func TestUploadChecked(t *testing.T) {
	data := random(3 * (128 << 10))
	for checksums, damaged := range map[string]string{
		"": "BadDigest", "ignored": "XAmzContentSHA256Mismatch", "refused": "XAmzContentSHA256Mismatch",
	} {
		s, client := open(t)
		s.Checksums = checksums
		send := func(key string) error {
			return client.Send(t.Context(), Name{"models", key}, bytes.NewReader(data), int64(len(data)))
		}
		if err := send("a"); err != nil || !bytes.Equal(s.Get("a"), data) {
			t.Errorf("checksums %s: %v", checksums, err)
		}
		s.Damage = func(r *http.Request, body []byte) {
			if r.URL.Query().Get("partNumber") == "2" {
				body[len(body)/2] ^= 1
			}
		}
		if err := send("b"); err == nil || !strings.Contains(err.Error(), damaged) || s.Get("b") != nil {
			t.Errorf("checksums %s, damaged: %v, expected %s", checksums, err, damaged)
		}
		if _, open := s.Uploads(); open != 0 {
			t.Errorf("checksums %s: %d uploads are left", checksums, open)
		}
	}
}

// The body's hash is signed where somebody else could change both the body and its checksum.
func TestBodyHash(t *testing.T) {
	for at, want := range map[string]string{
		"https://s3.example":     "UNSIGNED-PAYLOAD",
		"http://127.0.0.1:9000":  "UNSIGNED-PAYLOAD",
		"http://[::1]:9000":      "UNSIGNED-PAYLOAD",
		"http://localhost:9000":  "UNSIGNED-PAYLOAD",
		"http://s3.example":      "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
		"http://localhost.other": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
		"http://10.0.0.1":        "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
	} {
		r := smithyhttp.NewStackRequest().(*smithyhttp.Request)
		r.URL, _ = url.Parse(at)
		r, err := r.SetStream(strings.NewReader("hello"))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		next := middleware.FinalizeHandlerFunc(func(ctx context.Context, _ middleware.FinalizeInput) (
			out middleware.FinalizeOutput, metadata middleware.Metadata, err error,
		) {
			got = v4.GetPayloadHash(ctx)
			return out, metadata, nil
		})
		in := middleware.FinalizeInput{Request: r}
		if _, _, err := (bodyHash{}).HandleFinalize(t.Context(), in, next); err != nil || got != want {
			t.Errorf("%s: %q, %v, expected %q", at, got, err, want)
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
