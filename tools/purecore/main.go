// Command purecore is the vet tool that keeps the comparator's core pure:
//
//	go vet -vettool=purecore ./reconcile
package main

import (
	"golang.org/x/tools/go/analysis/unitchecker"

	"github.com/trueup-io/trueup/tools/purecore/analysis"
)

func main() { unitchecker.Main(analysis.Analyzer) }
