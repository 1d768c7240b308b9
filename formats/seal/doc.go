// Package seal reads and writes seals. A seal holds what a base model predicts
// for pinned tokens, so that a quantized model can be compared with it where the
// base model does not fit.
//
// # The format
//
// All numbers are little-endian. A file is
//
//	8 bytes   magic "\x89seal\r\n\x1a"
//	uint32    version, 2
//	HEAD      a JSON object: the model, hashes, conventions, sizes
//	TOKS      the tokens of all texts
//	POSN      positions, compressed with zstd; any number of such sections
//	DONE      empty
//
// and a section is its name, the uint32 length of its payload, the payload, and the
// CRC-32C of all this. A position is a token that the model predicted. It has
//
//   - the token's place and the tokens before it, and -ln p of the token;
//   - the likely tokens, by falling p, each with p rounded to a multiple of 1/65536;
//   - the logarithm of the probability of all others together, the tail;
//   - a token of the tail, drawn by its probability, and the logarithm of that;
//   - in some positions, chosen at random: -ln p of every token of the vocabulary.
//
// A rounded number stands for an interval, [Likely.Bounds] and [Entry.TailBounds], in
// which the model's number certainly lies. What follows from the intervals for the
// KL divergence is in package verify. docs/format-seal.md is the full specification.
//
// # Use
//
// [Create] and [Writer.Add] write a seal, [Open] and [Reader.Next] read it, both position
// by position with the memory of one section. The reader trusts nothing: a buffer
// grows with the bytes that are there, and a section decompresses to 4 MiB at most.
package seal
