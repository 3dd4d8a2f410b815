package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// keptAside is how many damaged directories are kept: the newest for whoever
// wants to know what happened, without a disk that fills up.
const keptAside = 3

// SetAside renames a directory whose content cannot be trusted, so that another
// can be made in its place, and returns its new name. The oldest of those that
// were set aside before are removed.
func SetAside(dir string) (aside string, err error) {
	dir = filepath.Clean(dir)
	prefix := filepath.Base(dir) + ".damaged-"
	entries, err := os.ReadDir(filepath.Dir(dir))
	if err != nil {
		return "", fmt.Errorf("set aside state directory %s: %w", dir, err)
	}
	var numbers []int
	for _, e := range entries {
		if text, ok := strings.CutPrefix(e.Name(), prefix); ok {
			if n, err := strconv.Atoi(text); err == nil {
				numbers = append(numbers, n)
			}
		}
	}
	slices.Sort(numbers)
	name := func(n int) string { return filepath.Join(filepath.Dir(dir), prefix+strconv.Itoa(n)) }
	next := 1
	if n := len(numbers); n > 0 {
		next = numbers[n-1] + 1
	}
	if err := os.Rename(dir, name(next)); err != nil {
		return "", fmt.Errorf("set aside state directory %s: %w", dir, err)
	}
	for len(numbers) >= keptAside {
		err = errors.Join(err, os.RemoveAll(name(numbers[0])))
		numbers = numbers[1:]
	}
	if err != nil {
		return "", fmt.Errorf("remove an old damaged state directory: %w", err)
	}
	return name(next), nil
}
