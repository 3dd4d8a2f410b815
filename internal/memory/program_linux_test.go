package memory

import (
	"runtime"
	"testing"
)

func TestOnlyWhatIsInTheFileIsForgotten(t *testing.T) {
	for line, want := range map[string][2]uintptr{
		"00402000-016b4000 r-xp 00002000 fe:00 9981570                            /usr/bin/trueup\n":    {0x402000, 0x16b4000},
		"016b4000-02a7d000 r--p 012b4000 fe:00 9981570                            /usr/bin/trueup\n":    {0x16b4000, 0x2a7d000},
		"02a7e000-02bd4000 rw-p 0267e000 fe:00 9981570                            /usr/bin/trueup\n":    {}, // written
		"7f0000000000-7f0000001000 r-xp 00000000 fe:00 1                          /usr/lib/libc.so.6\n": {},
		"edf06800000-edf09800000 rw-p 00000000 00:00 0 \n":                                              {},
		"02a7e000 r-xp 0 0 0 /usr/bin/trueup\n":                                                         {},
		"02a7e000-x r-xp 0 0 0 /usr/bin/trueup\n":                                                       {},
		"": {},
	} {
		from, to, ok := readOnly(line, "/usr/bin/trueup")
		if ok != (want != [2]uintptr{}) || ok && (from != want[0] || to != want[1]) {
			t.Errorf("%q: %x-%x, %v", line, from, to, ok)
		}
	}
}

// A program that is linked with C has read-only memory that its file has not: the
// addresses of C functions, without which it ends at the next call of one.
func TestWhatTheLoaderFilledInIsKept(t *testing.T) {
	const smaps = `00402000-016b4000 r-xp 00002000 fe:00 9981570                            /usr/bin/trueup
Size:              19144 kB
Private_Dirty:         0 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
02a7d000-02a7e000 r--p 0267b000 fe:00 9981570                            /usr/bin/trueup
Size:                  4 kB
Private_Dirty:         4 kB
Anonymous:             4 kB
VmFlags: rd mr mw me ac
edf06800000-edf09800000 rw-p 00000000 00:00 0 
Anonymous:             0 kB
`
	if got := inFile(smaps, "/usr/bin/trueup"); len(got) != 1 || got[0] != [2]uintptr{0x402000, 0x16b4000} {
		t.Errorf("%x", got)
	}
}

// What was forgotten is there again when it is needed.
func TestForgetStart(t *testing.T) {
	before := make([]byte, 1<<20)
	runtime.Stack(before, true) // reads what the program knows of its functions
	for range 20 {
		ForgetStart()
		after := make([]byte, 1<<20)
		if n := runtime.Stack(after, true); n == 0 {
			t.Fatal("no stack")
		}
		runtime.GC() // reads what it knows of its types
	}
}
