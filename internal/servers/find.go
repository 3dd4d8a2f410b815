package servers

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const howToInstall = "run scripts/setup, or install them by hand"

// findTogether returns the directory that holds all the named programs: bin if
// given, else the first of dirs, else the one of PATH. A package's own directory
// goes before PATH, because PATH may hold a wrapper or an older version.
func findTogether(server, bin string, dirs []string, programs ...string) (string, error) {
	if bin != "" {
		abs, err := filepath.Abs(bin)
		if err != nil {
			return "", err
		}
		if !holds(abs, programs) {
			return "", fmt.Errorf("%s: %s: %w in %s", server, strings.Join(programs, ", "), ErrMissing, abs)
		}
		return abs, nil
	}
	for _, dir := range append(dirs, filepath.SplitList(os.Getenv("PATH"))...) {
		if filepath.IsAbs(dir) && holds(dir, programs) {
			return dir, nil
		}
	}
	return "", fmt.Errorf("%s: %s: %w: looked in %s and PATH; %s", server, strings.Join(programs, ", "), ErrMissing,
		strings.Join(dirs, ", "), howToInstall)
}

func holds(dir string, programs []string) bool {
	for _, p := range programs {
		if _, err := exec.LookPath(filepath.Join(dir, p)); err != nil {
			return false
		}
	}
	return true
}

// newestFirst returns the directories that match pattern, whose one * stands for
// a version number, the largest version first.
func newestFirst(pattern string) []string {
	before, after, _ := strings.Cut(pattern, "*")
	matches, _ := filepath.Glob(pattern) // the only error is a bad pattern, and ours are constants
	version := func(path string) float64 {
		v, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimPrefix(path, before), after), 64)
		if err != nil {
			return -1
		}
		return v
	}
	slices.SortFunc(matches, func(a, b string) int { return cmp.Compare(version(b), version(a)) })
	return matches
}
