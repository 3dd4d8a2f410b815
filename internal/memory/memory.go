// Package memory says how lazy the garbage collector may be.
//
// What captures or compares keeps little alive and makes much that is soon
// forgotten: with Go's own setting, which is to collect when the heap has doubled,
// a heap of a few megabytes is collected twenty times a second, and that was a
// quarter of a capture's CPU time. A higher GOGC would multiply the heap when a
// burst has made it large. So the heap gets a constant on top: it is collected when
// it has doubled and headroom was used too. GOGC and GOMEMLIMIT mean what they
// always do.
package memory

import "runtime"

// headroom is half of how much garbage may lie about besides what Go allows,
// before the heap has doubled. A capture uses most of its memory again, so that
// more makes it no faster.
const headroom = 4 << 20

// Relax gives the heap headroom until restore is called. The headroom itself is
// never touched and so never resident.
func Relax() (restore func()) {
	ballast := make([]byte, headroom)
	return func() { runtime.KeepAlive(ballast) }
}
