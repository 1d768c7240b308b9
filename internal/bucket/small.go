package bucket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// maxSmall is the most that [Client.Get] takes into memory.
const maxSmall = 64 << 20

// Get returns the content of a small object; [fs.ErrNotExist] if there is none.
func (c *Client) Get(ctx context.Context, n Name) ([]byte, error) {
	out, err := c.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: &n.Bucket, Key: &n.Key})
	if err != nil {
		return nil, explain(n, err)
	}
	defer func() { _ = out.Body.Close() }() // only read from
	data, err := io.ReadAll(io.LimitReader(out.Body, maxSmall+1))
	if err != nil {
		return nil, explain(n, err)
	}
	if len(data) > maxSmall {
		return nil, fmt.Errorf("%s: more than %d bytes", n, maxSmall)
	}
	return data, nil
}

// Put writes a small object, unless one is there and create is true: [fs.ErrExist] then.
func (c *Client) Put(ctx context.Context, n Name, data []byte, create bool) error {
	in := &s3.PutObjectInput{Bucket: &n.Bucket, Key: &n.Key, Body: bytes.NewReader(data)}
	if create {
		in.IfNoneMatch = aws.String("*")
	}
	_, err := c.s3.PutObject(ctx, in)
	// 409: another request for the key is not decided yet.
	if s := status(err); create && (s == http.StatusPreconditionFailed || s == http.StatusConflict) {
		return fmt.Errorf("%s: %w", n, fs.ErrExist)
	}
	if err != nil {
		return fmt.Errorf("write %w", explain(n, err))
	}
	return nil
}

// Remove removes an object. That there is none is no error.
func (c *Client) Remove(ctx context.Context, n Name) error {
	_, err := c.s3.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &n.Bucket, Key: &n.Key})
	if err = explain(n, err); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
