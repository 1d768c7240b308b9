package calib

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"math"
	"os"
)

// A work file has two records, a sector apart, since sectors are written whole: each says how far a run
// that a key identifies has come. They are written in turns, and the latest counts.
const (
	recordAt   = 512
	recordStep = 512
	recordLen  = sha256.Size + 8
	dataAt     = 4096 // the first place behind them
)

// readRecord returns how far the run of that key has come.
func readRecord(f *os.File, key [sha256.Size]byte) (done int) {
	record := make([]byte, recordLen)
	for i := range int64(2) {
		if _, err := f.ReadAt(record, recordAt+i*recordStep); err != nil || !bytes.HasPrefix(record, key[:]) {
			continue
		}
		if binary.LittleEndian.Uint32(record[sha256.Size+4:]) == crc32.ChecksumIEEE(record[:sha256.Size+4]) {
			done = max(done, int(binary.LittleEndian.Uint32(record[sha256.Size:])))
		}
	}
	return done
}

// writeRecord says that the run of that key has come so far, when all that was written is on disk.
func writeRecord(f *os.File, key [sha256.Size]byte, done int) error {
	if err := f.Sync(); err != nil {
		return err
	}
	record := binary.LittleEndian.AppendUint32(key[:len(key):len(key)], uint32(done))
	record = binary.LittleEndian.AppendUint32(record, crc32.ChecksumIEEE(record))
	_, err := f.WriteAt(record, recordAt+int64(done%2)*recordStep)
	return err
}

// ioBytes is how much is converted and read or written at a time.
const ioBytes = 1 << 20

// readFloatsAt reads little-endian float32.
func readFloatsAt(f *os.File, dst []float32, at int64) error {
	raw := make([]byte, min(ioBytes, 4*len(dst)))
	for len(dst) > 0 {
		n := min(len(raw)/4, len(dst))
		if _, err := f.ReadAt(raw[:4*n], at); err != nil {
			return err
		}
		for i := range dst[:n] {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		}
		dst, at = dst[n:], at+int64(4*n)
	}
	return nil
}

// writeFloats writes little-endian float32.
func writeFloats(f *os.File, src []float32, at int64) error {
	raw := make([]byte, 0, min(ioBytes, 4*len(src)))
	for len(src) > 0 {
		n := min(cap(raw)/4, len(src))
		raw = raw[:0]
		for _, v := range src[:n] {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
		}
		if _, err := f.WriteAt(raw, at); err != nil {
			return err
		}
		src, at = src[n:], at+int64(4*n)
	}
	return nil
}
