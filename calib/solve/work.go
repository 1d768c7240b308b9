package solve

// Work is counted in multiplications, or in what takes about as long.

// Work returns how much [Layer.Quantize] works on a layer, whose errors need no more damping.
func (o *Options) Work(rows, cols int) float64 {
	sweeps := o.Sweeps
	if o.Outputs > 0 {
		sweeps += outputSweeps
	}
	return float64(len(o.Damp)) * (factorWork(cols) + tileWork(rows, cols, sweeps))
}

// EncodingWork returns how much [Layer.Encode] works.
func EncodingWork(rows, cols int) float64 { return encoding * float64(rows) * float64(cols) }

// SearchWork returns how much [Search] works on a place with that many channels.
func SearchWork(channels int) float64 { return losses * lossWork(SampledRows, channels) }

// encoding is about how many multiplications take as long as encoding a weight.
const encoding = 500

// factorWork is the work of the factor of a matrix of n × n.
func factorWork(n int) float64 { return float64(n) * float64(n) * float64(n) / 6 }

// sweepWork is the work of a pass over rows: products of n columns with n, and the choice of scales and codes.
func sweepWork(rows, n int) float64 { return float64(rows) * float64(n) * float64(n+2*encoding) }

// tileWork is the work of rows, of which the costs and the error feedback are about as much as three passes.
func tileWork(rows, n, sweeps int) float64 { return float64(3+sweeps) * sweepWork(rows, n) }

// losses is how often lossWork is done by a search.
const losses = 12

// lossWork is the work of encoding rows with scaled channels and of a product with the second moments.
func lossWork(rows, n int) float64 {
	return EncodingWork(rows, n) + float64(rows)*float64(n)*float64(n)
}

func (l *Layer) worked(work float64) {
	if l.Worked != nil {
		l.Worked(work)
	}
}
