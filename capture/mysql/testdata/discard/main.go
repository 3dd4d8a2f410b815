// Command discard captures one large transaction into nothing, and says how
// much memory that took. Its argument is what to capture, as JSON.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/capture/mysql"
	"github.com/trueup-io/trueup/schemas"
)

type argument struct {
	Driver, DSN, Rules, SpillDir string
	Start                        capture.Start
	Rows                         int // how many changes to wait for
}

// result is what is printed.
type result struct {
	Changes, Whole, Tagged int   // changes; with the number of rows; with a tag
	SetAside               int64 // transactions that waited in a file
	Bytes                  int64 // of the rows' texts
	ResidentKB             int   // the most that was resident
	Seconds                float64
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "discard:", err)
		os.Exit(3)
	}
}

func run() error {
	var a argument
	if err := json.Unmarshal([]byte(os.Args[1]), &a); err != nil {
		return err
	}
	m, err := schemas.LoadMigration(a.Rules)
	if err != nil {
		return err
	}
	rules, err := m.Rules()
	if err != nil {
		return err
	}
	source := mysql.New(mysql.Config{Side: schemas.Target, Source: "my-test", Driver: a.Driver, DSN: a.DSN, Rules: rules, SpillDir: a.SpillDir})
	defer source.Close(context.Background())
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	began := time.Now()
	d := &discard{want: a.Rows, done: cancel}
	err = source.Run(ctx, a.Start, 1, d, func() (capture.Resume, bool) { return "", false })
	if !errors.Is(err, context.Canceled) {
		return err
	}
	stats := source.Stats()
	d.SetAside, d.Seconds = stats.SetAside, time.Since(began).Seconds()
	if d.ResidentKB, err = resident(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(d.result)
}

type discard struct {
	result
	want int
	done func()
}

func (d *discard) Change(_ context.Context, c *schemas.Change) error {
	d.Changes++
	if int(c.TxnRows) == d.want {
		d.Whole++
	}
	if c.Tag.WriteID != "" {
		d.Tagged++
	}
	for i := range c.After {
		d.Bytes += int64(len(c.After[i].Text))
	}
	return nil
}

func (d *discard) Progress(context.Context, schemas.Progress, capture.Resume) error {
	if d.Changes >= d.want {
		d.done()
	}
	return nil
}

func resident() (kb int, err error) {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
			_, err := fmt.Sscanf(rest, "%d kB", &kb)
			return kb, err
		}
	}
	return 0, errors.New("no VmHWM in /proc/self/status")
}
