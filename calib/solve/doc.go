// Package solve quantizes one linear layer, given its weights and the second moments of its inputs: GPTQ's
// error feedback, refinement of what it leaves, and AWQ's search for factors of channels.
//
// Results are the same bits on every CPU and with every number of threads.
package solve
