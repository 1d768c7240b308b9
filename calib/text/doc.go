// Package text makes the sequences of tokens that a model is calibrated with: from plain texts and conversations, or
// written by the model itself.
package text
