package tokenizer

import "github.com/phi3conv/phi3conv/internal/vocab"

// IsControl reports whether an id is a control token, which is structure and no text.
func (t *Tokenizer) IsControl(id int32) bool {
	return id >= 0 && int(id) < len(t.control) && t.control[id]
}

// IsAdded reports whether an id is a token that is cut out of a text before it is encoded: a control token or one that
// a user has defined.
func (t *Tokenizer) IsAdded(id int32) bool {
	return t.IsControl(id) || id >= 0 && int(id) < len(t.v.Types) && t.v.Types[id] == vocab.UserDefined
}
