package capture

// The severities of a finding.
const (
	OK   = "ok"
	Warn = "warn" // capture works; something is worse than it could be
	Fail = "fail" // capture cannot work
)

// Finding is one requirement of a source and how the store meets it: what
// `trueup check` prints.
type Finding struct {
	Severity string `json:"severity"`         // OK, Warn or Fail
	Entity   string `json:"entity,omitempty"` // where it is about the table of one
	Subject  string `json:"subject"`          // the setting, right, table or column that was looked at
	Detail   string `json:"detail"`           // what was found, and why it matters
	Remedy   string `json:"remedy,omitempty"` // the next action, as SQL where that is possible; empty when OK
}
