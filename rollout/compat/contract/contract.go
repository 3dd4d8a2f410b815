// Package contract compares two OpenAPI documents: what clients use today, and what they are to get.
//
// It promises that a change which breaks a client is a finding of level Incompatible, as the
// rules of oasdiff have it, with the operation it is in; and that a document which cannot be
// read whole is Unknown, and not compatible.
//
// It assumes that a document holds all that it refers to: it opens no other file, and no address.
//
//	old, new ─► load (nothing but the texts) ─► diff ─► breaking changes ─► findings
package contract

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/oasdiff/oasdiff/checker"
	"github.com/oasdiff/oasdiff/diff"
	"github.com/oasdiff/oasdiff/load"

	"github.com/trueup-io/trueup/rollout/compat"
)

// maxDocument bounds a document's text.
const maxDocument = 16 << 20

var errElsewhere = errors.New("it refers to another file or address, which is not opened: put all of it into one document")

// Document is a document's name, by which findings call it, and its text.
type Document struct {
	Name string
	Text []byte
}

// Compare says what of a contract would break its clients.
func Compare(name string, old, revised Document) []compat.Finding {
	var specs []*load.SpecInfo
	for _, d := range []Document{old, revised} {
		spec, err := read(d)
		if err != nil {
			return compat.Unread(name, d.Name, fmt.Sprintf("it is no OpenAPI document that can be read: %s", err), "mend the document")
		}
		specs = append(specs, spec)
	}
	changes, sources, err := diff.GetWithOperationsSourcesMap(diff.NewConfig(), specs[0], specs[1])
	if err != nil {
		return compat.Unread(name, old.Name+" and "+revised.Name, fmt.Sprintf("they cannot be compared: %s", err), "mend the documents")
	}
	words := checker.NewDefaultLocalizer()
	var out []compat.Finding
	for _, c := range checker.CheckBackwardCompatibility(checker.NewConfig(checker.GetAllChecks()), changes, sources) {
		if !c.IsBreaking() {
			continue
		}
		place := strings.TrimSpace(c.GetOperation() + " " + c.GetPath())
		if place == "" {
			place = c.GetSection()
		}
		out = append(out, compat.Finding{Level: compat.Incompatible, Rule: c.GetId(), Name: name, Place: place, Problem: c.GetUncolorizedText(words),
			Detail: strings.Join(strings.Fields(c.GetComment(words)), " "),
			Next:   "keep what " + old.Name + " has beside it, or have somebody agree who answers for its clients"})
	}
	return out
}

// read reads a document, and nothing else.
func read(d Document) (spec *load.SpecInfo, err error) {
	if len(d.Text) > maxDocument {
		return nil, fmt.Errorf("it has more than %d bytes", maxDocument)
	}
	loader := openapi3.NewLoader()
	loader.IsExternalRefsAllowed = false
	loader.ReadFromURIFunc = func(*openapi3.Loader, *url.URL) ([]byte, error) { return nil, errElsewhere }
	if spec, err = load.NewSpecInfoFromData(loader, d.Text, d.Name); err != nil {
		return nil, oneLine(err)
	}
	if spec.Spec.OpenAPI == "" {
		return nil, errors.New("it does not say its version (openapi)")
	}
	if err := spec.Spec.Validate(loader.Context, openapi3.DisableExamplesValidation()); err != nil {
		return nil, oneLine(err)
	}
	return spec, nil
}

// oneLine is an error's text without lines.
func oneLine(err error) error {
	const most = 500
	text := strings.Join(strings.Fields(err.Error()), " ")
	if len(text) > most {
		text = text[:most] + "…"
	}
	return errors.New(text)
}
