package servers_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/trueup-io/trueup/internal/servers/servertest"
)

// "Servers do not outlive this process, however it ends": here by SIGKILL.
func TestServersDieWithTheirStarter(t *testing.T) {
	eachKind(t, func(t *testing.T, start func(ctx context.Context, dir string) (*store, error)) {
		dir := t.TempDir()
		// Once here, so that what is missing is told, and the child starts at once.
		s, err := start(t.Context(), dir)
		servertest.Check(t, err)
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
		_, kind, _ := strings.Cut(t.Name(), "/")
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), childKind+"="+kind, "DIR="+dir)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		address := strings.TrimSpace(line)
		if errKill := child.Process.Kill(); err != nil || errKill != nil {
			t.Fatal(err, errKill)
		}
		if strings.HasPrefix(address, "error:") {
			t.Fatal(address)
		}
		_ = child.Wait() // "signal: killed", as wanted

		deadline := time.Now().Add(time.Minute)
		for {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				return
			}
			conn.Close()
			if time.Now().After(deadline) {
				t.Fatalf("%s still listens on %s a minute after its starter was killed", kind, address)
			}
			time.Sleep(20 * time.Millisecond) //nolint:forbidigo // nothing can signal us: the server is nobody's child
		}
	})
}

// The orphan signal is tied to the thread that started the process. Threads come
// and go in a Go program; a server must not go with one of them.
func TestServerOutlivesTheStartingThread(t *testing.T) {
	t.Parallel()
	type outcome struct {
		tid int
		s   *store
		err error
	}
	started := make(chan outcome)
	var start func()
	start = func() {
		runtime.LockOSThread() // and not unlocked: the thread ends with the goroutine
		tid := syscall.Gettid()
		if tid == os.Getpid() { // except the main thread, which never ends: take another one
			defer runtime.UnlockOSThread()
			next := make(chan struct{})
			go func() { defer close(next); start() }()
			<-next
			return
		}
		s, err := startMariaDB(context.Background(), "")
		started <- outcome{tid, s, err}
	}
	go start()
	o := <-started
	servertest.Check(t, o.err)
	defer func() {
		if err := o.s.Stop(); err != nil {
			t.Error(err)
		}
	}()
	thread := fmt.Sprintf("/proc/self/task/%d", o.tid)
	for {
		if _, err := os.Stat(thread); err != nil {
			break
		}
		time.Sleep(time.Millisecond) //nolint:forbidigo // nothing signals the end of a thread
	}
	write(t, o.s, "alive")
	wantTexts(t, o.s, "alive")
}
