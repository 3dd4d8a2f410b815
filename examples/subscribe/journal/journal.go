// Package journal remembers in a file which events were handled: the examples'
// stand-in for the database in which a real subscriber keeps what it makes of
// them. An event's id and place stand on one line, written at once.
package journal

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
)

// Entry is an event that was handled.
type Entry struct {
	Partition int    `json:"partition"`
	Offset    int64  `json:"offset"`
	ID        string `json:"id"`
	Type      string `json:"type"`
	Subject   string `json:"subject"`
}

// Journal is the file. One goroutine uses it.
type Journal struct {
	file *os.File
	seen map[string]bool
	next map[int]int64 // by partition
}

// Open reads what was handled before. A last line that was cut short, by a kill,
// was not handled.
func Open(path string) (*Journal, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	j := &Journal{file: f, seen: map[string]bool{}, next: map[int]int64{}}
	whole := int64(0)
	for lines := bufio.NewReader(f); ; {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break
		}
		var e Entry
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		j.seen[e.ID], j.next[e.Partition] = true, max(j.next[e.Partition], e.Offset+1)
		whole += int64(len(line))
	}
	if err := f.Truncate(whole); err != nil {
		return nil, err
	}
	_, err = f.Seek(whole, 0)
	return j, err
}

// Next is the offset to go on from in a partition.
func (j *Journal) Next(partition int) int64 { return j.next[partition] }

// Handle handles an event, unless it was handled already.
func (j *Journal) Handle(e Entry) error {
	if j.seen[e.ID] {
		return nil
	}
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if _, err := j.file.Write(append(line, '\n')); err != nil {
		return err
	}
	j.seen[e.ID], j.next[e.Partition] = true, e.Offset+1
	return j.file.Sync()
}
