// Command killed comes to a site three times.
package main

import (
	"fmt"

	"github.com/trueup-io/trueup/internal/crash"
)

func main() {
	for i := range 3 {
		fmt.Println(i)
		crash.Site("capture.change_before_append")
	}
}
