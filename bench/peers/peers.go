// Package peers runs Debezium, the change data capture that users would choose
// otherwise, for benchmarks: its engine in a process of its own, which forgets
// what it is given, or a standalone worker of Kafka Connect.
//
// It promises that a process ends when it is stopped or when this one ends; and
// that nothing is fetched or compiled before Fetch is called. It assumes a JDK
// and Maven, and a system with /proc.
package peers

import (
	"bufio"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/trueup-io/trueup/internal/servers"
)

// JVM are the options of the Java machine: those that the scripts of Kafka
// Connect start a worker with, heap included.
var JVM = []string{"-server", "-Xms256M", "-Xmx2G", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35",
	"-XX:+ExplicitGCInvokesConcurrent", "-Djava.awt.headless=true"}

//go:embed pom.xml Embedded.java Worker.java logback.xml
var files embed.FS

// Debezium is what is needed to run it.
type Debezium struct {
	java      string
	classPath string
}

// Fetch returns Debezium, fetched with Maven (47 MB) if it is not in the cache yet.
func Fetch(ctx context.Context) (*Debezium, error) {
	java, err := exec.LookPath("java")
	if err != nil {
		return nil, fmt.Errorf("Debezium: java (17 or later): %w", servers.ErrMissing)
	}
	sources := map[string][]byte{}
	for _, name := range []string{"pom.xml", "Embedded.java", "Worker.java", "logback.xml"} {
		if sources[name], err = files.ReadFile(name); err != nil {
			return nil, err
		}
	}
	pom := sources["pom.xml"]
	delete(sources, "pom.xml")
	path, err := servers.FetchJava(ctx, "debezium", pom, sources)
	if err != nil {
		return nil, err
	}
	return &Debezium{java, path}, nil
}

// With returns a Debezium whose Java machine is another program.
func With(java string) *Debezium { return &Debezium{java: java, classPath: "none"} }

// Form is what the engine makes of a change.
type Form string

// A struct is what a connector hands to Kafka Connect; JSON is that converted,
// without its schema.
const (
	Structs Form = "structs"
	JSON    Form = "json"
)

// Engine starts the engine with a connector's properties. Its process says
// "first N" when the first N events of the topic have come, and "done N" when
// rows or more have.
func (d *Debezium) Engine(ctx context.Context, dir string, connector map[string]string, form Form, topic string, rows int) (*Process, error) {
	path := filepath.Join(dir, "engine.properties")
	if err := writeProperties(path, connector); err != nil {
		return nil, err
	}
	return d.start(ctx, dir, "Embedded", path, string(form), topic, strconv.Itoa(rows))
}

// Connect starts a standalone worker with one connector.
func (d *Debezium) Connect(ctx context.Context, dir string, worker, connector map[string]string) (*Process, error) {
	paths := [2]string{filepath.Join(dir, "worker.properties"), filepath.Join(dir, "connector.properties")}
	if err := errors.Join(writeProperties(paths[0], worker), writeProperties(paths[1], connector)); err != nil {
		return nil, err
	}
	return d.start(ctx, dir, "Worker", paths[:]...)
}

func writeProperties(path string, settings map[string]string) error {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&text, "%s=%s\n", name, strings.ReplaceAll(settings[name], `\`, `\\`))
	}
	return os.WriteFile(path, []byte(text.String()), 0o600)
}

// Process is a running peer. It is for one goroutine.
type Process struct {
	cmd   *exec.Cmd
	in    io.Closer
	out   *bufio.Reader
	log   string
	ended chan struct{} // closed when the process has been waited for
	err   error         // how it ended; read after ended
}

func (d *Debezium) start(ctx context.Context, dir, main string, args ...string) (*Process, error) {
	p := &Process{log: filepath.Join(dir, "log"), ended: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.CommandContext(ctx, d.java, slices.Concat(JVM, []string{"-cp", d.classPath, main}, args)...)
	p.cmd.Dir, p.cmd.Stderr = dir, log
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start Debezium: %w", err)
	}
	go func() { // until the process ends
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// Await waits until the process says word, and returns the number behind it.
func (p *Process) Await(word string) (int, error) {
	text, err := p.out.ReadString('\n')
	if err != nil {
		return 0, p.Because(fmt.Errorf("wait for %q of Debezium: %w", word, err))
	}
	said, number, _ := strings.Cut(strings.TrimSpace(text), " ")
	n, err := strconv.Atoi(number)
	if err != nil || said != word {
		return 0, p.Because(fmt.Errorf("Debezium said %q instead of %q", strings.TrimSpace(text), word))
	}
	return n, nil
}

// Ended is closed when the process has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Because adds the end of the process's log to err.
func (p *Process) Because(err error) error {
	text, readErr := os.ReadFile(p.log)
	if readErr != nil || len(text) == 0 {
		return err
	}
	const end = 4000
	return fmt.Errorf("%w; its log ends:\n%s", err, text[max(0, len(text)-end):])
}

// Usage is what a process has used so far.
type Usage struct {
	At  time.Time
	CPU time.Duration // user and system, of all its threads
	RSS int           // MB at most resident
}

// Usage returns what the process has used so far.
func (p *Process) Usage() (Usage, error) { return UsageOf(p.cmd.Process.Pid) }

// ticks is how many of its clock's ticks the kernel counts a second as, whatever it uses itself.
const ticks = 100

// UsageOf reads what a process has used so far.
func UsageOf(pid int) (Usage, error) {
	u := Usage{At: time.Now()}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, err
	}
	// The name, which stands in brackets, may have spaces and brackets itself.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			return u, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		u.CPU += time.Duration(n) * time.Second / ticks
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, err
	}
	for l := range strings.Lines(string(status)) {
		var kb int
		if n, _ := fmt.Sscanf(l, "VmHWM: %d kB", &kb); n == 1 {
			u.RSS = kb / 1024
		}
	}
	return u, nil
}

// stopWait is how long a process may take to end in good order.
const stopWait = 30 * time.Second

// Stop ends the process in good order and waits for it.
func (p *Process) Stop() error {
	force := time.AfterFunc(stopWait, func() { _ = p.cmd.Process.Kill() }) // its end tells
	defer force.Stop()
	closed := p.in.Close()
	<-p.ended
	if err := errors.Join(closed, p.err); err != nil {
		return p.Because(fmt.Errorf("Debezium: %w", err))
	}
	return nil
}
