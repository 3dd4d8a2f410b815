// Package streamtest is the suite that every carrier of a log passes: the embedded
// broker and Apache Kafka.
//
// It promises to test only through package stream's own door, and through clients that
// are not ours. It assumes that each call of open gives a log of a migration that
// nobody else uses.
package streamtest

import (
	"testing"

	"github.com/trueup-io/trueup/stream"
)

// Exercise runs the suite. open returns a log with Partitions partitions that is
// closed when the test ends.
func Exercise(t *testing.T, open func(t *testing.T) *stream.Log) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, *stream.Log)
	}{
		{"I4_OrderIsKept", orderIsKept},
		{"ReadResumes", readResumes},
		{"ReadSkipsAborted", readSkipsAborted},
		{"OffsetsByTime", offsetsByTime},
		{"TailFollows", tailFollows},
		{"RetentionIsLoud", retentionIsLoud},
		{"DataLossIsLoud", dataLossIsLoud},
		{"I15_CrashBeforeStateCommit", crashBeforeStateCommit},
		{"I15_StateIsTheAuthority", stateIsTheAuthority},
		{"I19_MembersShare", membersShare},
		{"I19_ZombieIsFenced", zombieIsFenced},
		{"I40_GracefulStop", gracefulStop},
		{"ProcessErrorWritesNothing", processErrorWritesNothing},
		{"KafkaGoReads", kafkaGoReads},
		{"KcatReads", kcatReads},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}
