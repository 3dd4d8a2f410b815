// Package report makes a report of an audit that can be handed on: what was
// read, by which rules it was judged, what was found, as JSON and as a page for
// people, and a signature over both.
//
// It promises that a report holds no value of a row: keys, kinds, fields by
// name, offsets and counts only; that its page needs nothing else and runs
// nothing; and that Verify refuses a directory in which either file is not the
// one that was signed.
//
// It assumes that the audit does not change while a report is made of it. Who
// holds the key can sign anything: what the signature shows is that the files
// are those which the holder's audit wrote.
//
// The signature is a signed note (golang.org/x/mod/sumdb/note) whose text names
// both files with their SHA-256.
package report
