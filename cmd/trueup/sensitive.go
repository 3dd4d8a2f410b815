package main

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/trueup-io/trueup/compensate"
	"github.com/trueup-io/trueup/schemas"
)

// keyPath is where the key of a migration is, which signs and hides.
func keyPath(m *schemas.Migration) string { return filepath.Join(m.DataDir, keyName) }

// rulesOf are the rules of a migration, which hide sensitive values as those of
// its data directory do. Without a key they hide them all the same.
func rulesOf(m *schemas.Migration) (*schemas.Rules, error) {
	rules, err := m.Rules()
	if err != nil || !hides(rules) {
		return rules, err
	}
	key, err := compensate.OpenKey(keyPath(m))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return rules, nil
	case err != nil:
		return nil, err
	}
	return rules.Masked(key.Mask), nil
}

// hides says whether some field is sensitive.
func hides(rules *schemas.Rules) bool {
	return slices.ContainsFunc(rules.Entities(), (*schemas.Entity).Sensitive)
}
