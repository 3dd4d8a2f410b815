package main

import (
	"sync/atomic"

	"github.com/trueup-io/trueup/capture"
)

// latest is a position that one goroutine sets and others read.
type latest struct {
	at atomic.Pointer[capture.Resume]
}

func (l *latest) set(at capture.Resume) { l.at.Store(&at) }

func (l *latest) get() (capture.Resume, bool) {
	if at := l.at.Load(); at != nil {
		return *at, true
	}
	return "", false
}
