package eval

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/phi3conv/phi3conv/formats"
)

// Kind of a task.
type Kind string

const (
	Choice      Kind = "choice" // multiple choice, as MMLU
	ShortAnswer Kind = "answer" // generated answers of a few words, as TriviaQA
)

// Record is a question of a data file.
type Record struct {
	Path     string // of the file
	Line     int    // in it, from 1
	Kind     Kind
	Subject  string // may be empty
	Question string
	Choices  []string // of multiple choice: 2 to 26
	Right    int      // index in Choices
	Answers  []string // right ones of a short-answer question; examples show the first
}

// maxChoices is the number of letters.
const maxChoices = 26

// letter names a choice.
func letter(i int) string { return string(rune('A' + i)) }

// Parse reads records, one JSON object a line:
//
//	{"question": "…", "choices": ["…", …], "answer": 0 or "A", "subject": "…"}
//	{"question": "…", "answer": {"value": "…", "aliases": ["…", …], "normalized_aliases": ["…", …]}}
//
// or with a string or a list of them in the place of TriviaQA's answer object. A file
// whose name ends in .csv has MMLU's original rows without a header: question, choices,
// letter; its name without "_dev", "_val" or "_test" is the subject.
//
// kind is that of all records, or empty for that of the first, which has choices or has not.
// Errors are of type [formats.Error] and name the line.
func Parse(path string, data []byte, kind Kind) ([]Record, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	var all []Record
	var err error
	if strings.EqualFold(filepath.Ext(path), ".csv") {
		all, err = parseCSV(path, data)
	} else {
		all, err = parseLines(path, data)
	}
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, refuse(path, 1, "no records")
	}
	if kind == "" {
		kind = all[0].Kind
	}
	for _, r := range all {
		if r.Kind != kind {
			return nil, refuse(path, r.Line, "a record of kind %q, expected %q as of the whole task", r.Kind, kind)
		}
	}
	return all, nil
}

func refuse(path string, line int, format string, a ...any) error {
	return formats.FileErrorf(path, -1, "line %d: %s", line, fmt.Sprintf(format, a...))
}

func parseLines(path string, data []byte) ([]Record, error) {
	var all []Record
	line := 0
	for text := range bytes.Lines(data) {
		line++
		if text = bytes.TrimSpace(text); len(text) == 0 {
			continue
		}
		var j struct {
			Question *string         `json:"question"`
			Choices  []string        `json:"choices"`
			Answer   json.RawMessage `json:"answer"`
			Subject  string          `json:"subject"`
		}
		if err := json.Unmarshal(text, &j); err != nil {
			return nil, refuse(path, line, "not a record: %v", err)
		}
		r := Record{Path: path, Line: line, Kind: ShortAnswer, Subject: j.Subject, Choices: j.Choices}
		if j.Question == nil {
			return nil, refuse(path, line, `"question" is missing`)
		}
		if r.Question = strings.TrimSpace(*j.Question); r.Question == "" {
			return nil, refuse(path, line, `"question" is empty`)
		}
		if j.Answer == nil {
			return nil, refuse(path, line, `"answer" is missing`)
		}
		var err error
		if j.Choices != nil {
			r.Kind = Choice
			r.Right, err = rightChoice(j.Answer, len(j.Choices))
		} else {
			r.Answers, err = rightAnswers(j.Answer)
		}
		if err != nil {
			return nil, refuse(path, line, "%v", err)
		}
		all = append(all, r)
	}
	return all, nil
}

// rightChoice reads an index or a letter.
func rightChoice(answer json.RawMessage, n int) (int, error) {
	if n < 2 || n > maxChoices {
		return 0, fmt.Errorf("%d choices, expected 2 to %d", n, maxChoices)
	}
	var s string
	if json.Unmarshal(answer, &s) == nil {
		return letterIndex(s, n)
	}
	var i int
	if err := json.Unmarshal(answer, &i); err != nil || i < 0 || i >= n {
		return 0, fmt.Errorf("the answer is %s, expected a number from 0 to %d or a letter from A to %s", short(answer),
			n-1, letter(n-1))
	}
	return i, nil
}

func letterIndex(s string, n int) (int, error) {
	if len(s) != 1 || s[0] < 'A' || int(s[0]-'A') >= n {
		return 0, fmt.Errorf("the answer is %.40q, expected a letter from A to %s", s, letter(n-1))
	}
	return int(s[0] - 'A'), nil
}

// rightAnswers reads TriviaQA's object, a list or a string.
func rightAnswers(answer json.RawMessage) ([]string, error) {
	var object struct {
		Value      string   `json:"value"`
		Aliases    []string `json:"aliases"`
		Normalized []string `json:"normalized_aliases"`
	}
	var list []string
	var text string
	switch {
	case json.Unmarshal(answer, &text) == nil:
		list = []string{text}
	case json.Unmarshal(answer, &list) == nil:
	case json.Unmarshal(answer, &object) == nil:
		list = append(append([]string{object.Value}, object.Aliases...), object.Normalized...)
	default:
		return nil, fmt.Errorf("the answer is %s, expected an object with %q and %q, a list of strings, or a string",
			short(answer), "value", "aliases")
	}
	var right []string
	for _, s := range list {
		if s = strings.TrimSpace(s); s != "" {
			right = append(right, s)
		}
	}
	if right == nil {
		return nil, errors.New("the answer has no text")
	}
	return right, nil
}

// short returns the beginning of a JSON value.
func short(b []byte) string {
	if len(b) > 40 {
		return fmt.Sprintf("%q…", b[:40])
	}
	return fmt.Sprintf("%q", b)
}

func parseCSV(path string, data []byte) ([]Record, error) {
	subject := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	for _, split := range []string{"_dev", "_val", "_test"} {
		subject = strings.TrimSuffix(subject, split)
	}
	d := csv.NewReader(bytes.NewReader(data))
	d.FieldsPerRecord = -1
	var all []Record
	for {
		row, err := d.Read()
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return nil, formats.WrapFile(err, path, "") // has the line
		}
		line, _ := d.FieldPos(0)
		last := len(row) - 1
		if last < 3 || last-1 > maxChoices {
			return nil, refuse(path, line, "%d columns, expected a question, 2 to %d choices and a letter", len(row),
				maxChoices)
		}
		r := Record{Path: path, Line: line, Kind: Choice, Subject: subject, Question: strings.TrimSpace(row[0]),
			Choices: row[1:last]}
		if r.Question == "" {
			return nil, refuse(path, line, "the question is empty")
		}
		if r.Right, err = letterIndex(strings.TrimSpace(row[last]), last-1); err != nil {
			return nil, refuse(path, line, "%v", err)
		}
		all = append(all, r)
	}
}
