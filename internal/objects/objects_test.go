package objects

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"testing"

	"github.com/phi3conv/phi3conv/internal/testbucket"
	"github.com/phi3conv/phi3conv/internal/testmodel"
)

// Every store keeps what it is given, and creates a key once.
func TestStores(t *testing.T) {
	testbucket.Start(t)
	remote, err := OpenBucket(t.Context(), "s3://"+testbucket.Bucket+"/some/prefix/")
	if err != nil {
		t.Fatal(err)
	}
	for _, store := range []Store{new(Memory), Dir(t.TempDir()), remote} {
		t.Run(store.String(), func(t *testing.T) { testStore(t, store) })
	}
	if _, err := OpenBucket(t.Context(), "s3://nobody/x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a bucket that is not there: %v", err)
	}
}

func testStore(t *testing.T, s Store) {
	ctx := t.Context()
	if _, err := s.Get(ctx, "a/b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before it is there: %v", err)
	}
	if keys, err := s.List(ctx, "a/"); len(keys) > 0 || err != nil {
		t.Errorf("%v, %v of an empty store", keys, err)
	}
	if err := s.Create(ctx, "a/b", []byte("1")); err != nil {
		t.Fatal(err)
	}
	if err := s.Create(ctx, "a/b", []byte("2")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second time: %v", err)
	}
	file := testmodel.Write(t, filepath.Join(t.TempDir(), "file"), []byte("content"))
	err := errors.Join(s.Put(ctx, "a/b", []byte("3")), s.Put(ctx, "a/c/d", nil), s.Upload(ctx, "ab/e", file))
	if err != nil {
		t.Fatal(err)
	}
	if data, err := s.Get(ctx, "a/b"); string(data) != "3" || err != nil {
		t.Errorf("%q, %v, expected 3", data, err)
	}
	if keys, err := s.List(ctx, "a/"); !slices.Equal(keys, []string{"a/b", "a/c/d"}) || err != nil {
		t.Errorf("%v, %v", keys, err)
	}
	there := filepath.Join(t.TempDir(), "new", "file")
	if err := s.Download(ctx, "ab/e", there); err != nil || string(testmodel.Read(t, there)) != "content" {
		t.Errorf("downloaded: %v", err)
	}
	if err := errors.Join(s.Remove(ctx, "a/b"), s.Remove(ctx, "a/b")); err != nil {
		t.Error(err)
	}
	if _, err := s.Get(ctx, "a/b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after it was removed: %v", err)
	}
}
