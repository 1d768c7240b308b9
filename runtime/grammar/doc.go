// Package grammar restricts what a model writes to the texts of a grammar: one in GBNF, the notation of llama.cpp, or
// one that package jsonschema makes of a JSON Schema.
//
// A [Grammar] is a set of rules, each a regular expression over bytes and rules: a context-free grammar. [New] ties it
// to a [Vocabulary], and the result is an [Automaton], from which each answer gets a [Constraint].
//
// The automaton reads bytes, so that a character may be divided between tokens. Its stack is kept as a graph: a frame
// has all places from which a rule was called at one position, so that ambiguous grammars take polynomial time. All of
// it is made when it is first needed, and kept.
//
// Which tokens may come next is found by going through the vocabulary as a trie. The result depends on the place within
// a rule alone, but for the tokens with which the rule ends: for those the walk goes on, from the places in the trie
// where it ended, with the rule that called. Each part is computed once for a grammar, so that most tokens cost some
// unions of sets.
package grammar
