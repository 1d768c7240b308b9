// Package calib calibrates and quantizes a model, one of its blocks after the other. [Calibrate] runs it over sequences
// of tokens and gathers statistics of its linear layers' inputs. [Quantize] solves its linear layers under such
// statistics. What is done to one layer is in package solve, statistics are in package stats, types for tensors are
// chosen in package alloc, and texts come from package text.
//
// Results are the same bits on every CPU, with every number of threads and every bound on memory.
package calib
