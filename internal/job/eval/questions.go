package eval

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/input"
	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
	"github.com/phi3conv/phi3conv/verify/eval"
)

// questions is the content of the task files and of those with examples.
type questions struct {
	records      []eval.Record
	files        []eval.File
	examples     []eval.Record // nil: they are taken from records
	exampleFiles []eval.File
}

// readQuestions reads the files, all of one kind, and sets o.How.Kind to that.
func (o *Options) readQuestions(ctx context.Context) (*questions, error) {
	q := &questions{}
	var err error
	if q.records, q.files, err = readRecords(ctx, o.Tasks, &o.How.Kind); err != nil {
		return nil, err
	}
	if o.Limit > 0 {
		q.records = q.records[:min(o.Limit, len(q.records))]
	}
	q.examples, q.exampleFiles, err = readRecords(ctx, o.Examples, &o.How.Kind)
	return q, err
}

// readRecords reads files of one kind, which it sets if it is empty.
func readRecords(ctx context.Context, paths []string, kind *eval.Kind) ([]eval.Record, []eval.File, error) {
	var all []eval.Record
	var files []eval.File
	for _, path := range paths {
		data, err := input.ReadFile(ctx, path)
		if err != nil {
			return nil, nil, err
		}
		path = input.Name(path)
		records, err := eval.Parse(path, data, *kind)
		if err != nil {
			return nil, nil, err
		}
		*kind = records[0].Kind
		all = append(all, records...)
		sum := sha256.Sum256(data)
		files = append(files, eval.File{
			Name: filepath.Base(path), Bytes: int64(len(data)), SHA256: hex.EncodeToString(sum[:]),
			Records: len(records),
		})
	}
	return all, files, nil
}

// commonContext returns the context that all models have, at most 4096, or checks that they have the one wanted.
func commonContext(want int, models []string) (int, error) {
	least := 4096
	for _, path := range models {
		m, err := source.Open(path)
		if err != nil {
			return 0, err
		}
		n := m.Config.Context
		_ = m.Close() // only read from
		if want > n {
			return 0, formats.FileErrorf(path, -1, "a context of %d tokens; the model was made for up to %d", want, n)
		}
		least = min(least, n)
	}
	if want > 0 {
		return want, nil
	}
	return least, nil
}

// encode turns the questions into each model's tokens. With same set, all models must have the same
// tokens, since their answers are compared.
func (q *questions) encode(models []string, how eval.Options, same bool) ([]*eval.Task, error) {
	var tasks []*eval.Task
	for i, path := range models {
		tok, err := tokenizer.Open(path)
		if err != nil {
			return nil, err
		}
		if how.Chat && !tok.HasTemplate() {
			return nil, formats.FileErrorf(path, -1, "--chat, but the model has no chat template")
		}
		t, err := eval.NewTask(tok, q.records, q.examples, how)
		if err != nil {
			return nil, err
		}
		if same && i > 0 {
			if err := tasks[0].Same(t); err != nil {
				return nil, &formats.Error{
					Path: path, Off: -1, What: "its tokenizer or template is another than the original's", Err: err,
				}
			}
			t = tasks[0] // the other is not kept
		}
		tasks = append(tasks, t)
	}
	return tasks, nil
}
