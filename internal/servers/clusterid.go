package servers

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"strings"
)

// newClusterID makes an id as Kafka does: 16 random bytes in URL base64. One that
// begins with a dash would be taken for an option.
func newClusterID() string {
	for {
		var b [16]byte
		_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
		if id := base64.RawURLEncoding.EncodeToString(b[:]); id[0] != '-' {
			return id
		}
	}
}

// readClusterID reads the id that a data directory was formatted with.
func readClusterID(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		if id, ok := strings.CutPrefix(lines.Text(), "cluster.id="); ok {
			return strings.ReplaceAll(id, `\`, ""), nil
		}
	}
	return "", fmt.Errorf("%s: no cluster.id in it", path)
}
