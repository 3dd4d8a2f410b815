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
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return
	}
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	for _, r := range inFile(string(maps), program) {
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, r[0], r[1]-r[0], unix.MADV_DONTNEED) // advice: it may be refused
	}
}

// inFile lists the ranges of the program, from and to, that are as its file has them.
// What the dynamic loader filled in and then made read-only (RELRO: where C
// functions are) is not: its pages are anonymous, and gone when they are forgotten.
func inFile(smaps, program string) (ranges [][2]uintptr) {
	var from, to uintptr
	mine := false
	for l := range strings.Lines(smaps) {
		f := strings.Fields(l)
		switch {
		case len(f) > 0 && !strings.HasSuffix(f[0], ":"):
			from, to, mine = readOnly(l, program)
		case mine && len(f) == 3 && f[0] == "Anonymous:" && f[1] == "0":
			ranges = append(ranges, [2]uintptr{from, to})
		}
	}
	return ranges
}

// readOnly is the range of a line of /proc/self/smaps that maps the program where
// nothing can be written.
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
