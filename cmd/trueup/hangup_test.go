package main

import (
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// hangUpChild has a test be the process whose terminal is closed.
const hangUpChild = "TRUEUP_TEST_HANG_UP"

// "Graceful stop loses nothing" (I40): a closed terminal is a stop as Ctrl-C is,
// and none for who was started by nohup.
func TestI40_AClosedTerminalStops(t *testing.T) {
	if file := os.Getenv(hangUpChild); file != "" {
		ctx, stop := untilSignal()
		defer stop()
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ctx.Done():
			t.Log("stopped")
		case <-time.After(20 * time.Second):
			t.Error("was not stopped")
		}
		return
	}
	for name, ignored := range map[string]bool{"terminal": false, "nohup": true} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "ready")
			script := `exec "$0" -test.run '^TestI40_AClosedTerminalStops$' -test.v`
			if ignored {
				script = "trap '' HUP; " + script
			}
			child := exec.Command("/bin/sh", "-c", script, os.Args[0])
			child.Env = append(os.Environ(), hangUpChild+"="+file)
			ended := make(chan error, 1)
			heard := make(chan os.Signal, 1)
			signal.Notify(heard, syscall.SIGHUP) // a signal that is ignored here, as under nohup, would be there, too
			err := child.Start()
			signal.Stop(heard)
			if err != nil {
				t.Fatal(err)
			}
			go func() { ended <- child.Wait() }()
			for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) { //nolint:forbidigo // another process
				if _, err := os.Stat(file); err == nil {
					break
				}
				if time.Now().After(deadline) {
					_ = child.Process.Kill()
					t.Fatal("the process did not begin")
				}
			}
			if err := child.Process.Signal(syscall.SIGHUP); err != nil {
				t.Error(err)
			}
			if ignored {
				select {
				case err := <-ended:
					t.Fatalf("ended by SIGHUP (%v), want that it goes on", err)
				case <-time.After(300 * time.Millisecond): // in which it would have ended
				}
				if err := child.Process.Signal(syscall.SIGTERM); err != nil {
					t.Error(err)
				}
			}
			if err := <-ended; err != nil {
				t.Errorf("ended by %v, want that it stopped", err)
			}
		})
	}
}
