package npy

import (
	"bytes"
	"strings"
	"testing"
)

// The headers and values that NumPy 2.4.6 writes: numpy.save(f, numpy.arange(n, dtype='<f4').reshape(shape)).
func TestWriter(t *testing.T) {
	for _, c := range []struct {
		shape []int
		text  string
	}{
		{[]int{3}, "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }"},
		{[]int{5, 576}, "{'descr': '<f4', 'fortran_order': False, 'shape': (5, 576), }"},
		{[]int{12, 200064}, "{'descr': '<f4', 'fortran_order': False, 'shape': (12, 200064), }"},
		{[]int{1, 1, 1}, "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 1), }"},
	} {
		var b bytes.Buffer
		w, err := NewWriter(&b, c.shape...)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write([]float32{0, 1}); err != nil {
			t.Fatal(err)
		}
		if err := w.Write([]float32{2}); err != nil {
			t.Fatal(err)
		}
		want := "\x93NUMPY\x01\x00\x76\x00" + c.text + strings.Repeat(" ", 117-len(c.text)) + "\n" +
			"\x00\x00\x00\x00\x00\x00\x80\x3f\x00\x00\x00\x40"
		if b.String() != want {
			t.Errorf("%v: %q, expected %q", c.shape, b.String(), want)
		}
	}
}
