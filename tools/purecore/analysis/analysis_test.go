package analysis_test

import (
	"testing"

	"golang.org/x/tools/go/analysis/analysistest"

	"github.com/trueup-io/trueup/tools/purecore/analysis"
)

// Each line of testdata that must be reported says so; nothing else may be.
func TestPureCore(t *testing.T) {
	analysistest.Run(t, analysistest.TestData(), analysis.Analyzer, "core")
}
