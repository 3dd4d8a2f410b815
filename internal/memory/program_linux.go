package memory

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ForgetStart takes the pages of the program's own file out of the process: most
// of them only its start has read, a window of 64 KB around each, and they were a
// third of what a capture had resident. The system keeps them cached; what is
// needed again is mapped again when it is. Where that cannot be done, nothing is.
func ForgetStart() {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return
	}
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	for l := range strings.Lines(string(maps)) {
		if from, to, ok := readOnly(l, program); ok {
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED) // advice: it may be refused
		}
	}
}

// readOnly is the range of a line of /proc/self/maps that maps the program where
// nothing can have been written: there the file is all there is to know.
func readOnly(line, program string) (from, to uintptr, ok bool) {
	f := strings.Fields(line)
	if len(f) != 6 || f[5] != program || f[1] != "r-xp" && f[1] != "r--p" {
		return 0, 0, false
	}
	low, high, _ := strings.Cut(f[0], "-")
	a, err := strconv.ParseUint(low, 16, 64)
	b, berr := strconv.ParseUint(high, 16, 64)
	return uintptr(a), uintptr(b), err == nil && berr == nil && a < b
}
