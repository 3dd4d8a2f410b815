package report

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/trueup-io/trueup/internal/notekey"
)

// The files of a report.
const (
	JSONName      = "report.json"
	HTMLName      = "report.html"
	SignatureName = "report.note"
)

// header is the first line of what is signed.
const header = "trueup audit report v1"

// LoadKey reads the key that signs the reports of a migration, and makes one where there
// is none.
func LoadKey(path, migration string) (*notekey.Key, error) {
	return notekey.Load(path, "trueup-audit-"+migration)
}

// Write writes the report and its signature into a directory, which is made
// where there is none. A directory with a report in it is refused: a signed
// report is not written over.
func (r *Report) Write(dir string, key *notekey.Key) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	text = append(text, '\n')
	var page bytes.Buffer
	if err := r.HTML(&page, key.Verifier); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	signed, err := note.Sign(&note.Note{Text: signedText(r, text, page.Bytes())}, key.Signer)
	if err != nil {
		return fmt.Errorf("sign report: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	for _, file := range []struct {
		name string
		text []byte
	}{{JSONName, text}, {HTMLName, page.Bytes()}, {SignatureName, signed}} {
		path := filepath.Join(dir, file.name)
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("report: %s is there already: a report is not written over, name another directory", path)
		}
		if err != nil {
			return fmt.Errorf("report: %w", err)
		}
		_, err = f.Write(file.text)
		if err := errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	return nil
}

func signedText(r *Report, text, page []byte) string {
	return fmt.Sprintf("%s\n%s\n%s\n%s\nsha256 %x %s\nsha256 %x %s\n", header, r.Migration, r.MadeAt.Format(time.RFC3339), r.Verdict,
		sha256.Sum256(text), JSONName, sha256.Sum256(page), HTMLName)
}

// Verify reads a report and checks that both its files are those that the holder
// of the key signed.
func Verify(dir, verifier string) (*Report, error) {
	v, err := note.NewVerifier(strings.TrimSpace(verifier))
	if err != nil {
		return nil, fmt.Errorf("verify: the key %.80q is none that reports are verified with: %w", verifier, err)
	}
	var files [3][]byte
	for i, name := range []string{JSONName, HTMLName, SignatureName} {
		if files[i], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			return nil, fmt.Errorf("verify: %w", err)
		}
	}
	n, err := note.Open(files[2], note.VerifierList(v))
	if err != nil {
		return nil, fmt.Errorf("verify %s: %w", filepath.Join(dir, SignatureName), err)
	}
	for i, name := range []string{JSONName, HTMLName} {
		if line := fmt.Sprintf("sha256 %x %s\n", sha256.Sum256(files[i]), name); !strings.Contains(n.Text, line) {
			return nil, fmt.Errorf("verify %s: it is not the file that was signed", filepath.Join(dir, name))
		}
	}
	r := new(Report)
	if err := json.Unmarshal(files[0], r); err != nil {
		return nil, fmt.Errorf("verify %s: %w", filepath.Join(dir, JSONName), err)
	}
	if n.Text != signedText(r, files[0], files[1]) {
		return nil, fmt.Errorf("verify %s: what was signed is not this report", filepath.Join(dir, SignatureName))
	}
	return r, nil
}
