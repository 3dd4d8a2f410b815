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

	"github.com/trueup-io/trueup/internal/servers"
	"github.com/trueup-io/trueup/internal/servers/servertest"
)

// childKind is the environment variable that makes this binary a program that
// starts one server, prints its address, and waits to be killed.
const childKind = "TRUEUP_TEST_SERVER_CHILD"

func beChild(kind string) {
	addresses := map[string]func() (string, error){
		"postgres": func() (string, error) {
			p, err := servers.StartPostgres(context.Background(), servers.PostgresOptions{Dir: os.Getenv("DIR")})
			if err != nil {
				return "", err
			}
			return fmt.Sprintf("127.0.0.1:%d", p.Port), nil
		},
		"mariadb": func() (string, error) {
			m, err := servers.StartMariaDB(context.Background(), servers.MariaDBOptions{Dir: os.Getenv("DIR")})
			if err != nil {
				return "", err
			}
			return fmt.Sprintf("127.0.0.1:%d", m.Port), nil
		},
		"kafka": func() (string, error) {
			k, err := servers.StartKafka(context.Background(), servers.KafkaOptions{Dir: os.Getenv("DIR")})
			if err != nil {
				return "", err
			}
			return k.Brokers[0], nil
		},
	}
	address, err := addresses[kind]()
	if err != nil {
		fmt.Fprintln(os.Stdout, "error:", err)
		os.Exit(1)
	}
	fmt.Fprintln(os.Stdout, address)
	select {}
}

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
