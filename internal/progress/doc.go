// Package progress tells users how far long jobs are: jobs report to a [Monitor], and a [Display] shows it as bars on a
// terminal and as a line a minute elsewhere, with what is done, the rate and the time left.
package progress
