package servers_test

import (
	"testing"

	"github.com/trueup-io/trueup/internal/servers"
	"github.com/trueup-io/trueup/internal/servers/servertest"
)

// "What they hold is replicated three times and acknowledged by two; any one of
// them can be killed", and goes on with what was written while it was away.
func TestKafkaClusterMissesOneNode(t *testing.T) {
	t.Parallel()
	c, err := servers.StartKafkaCluster(t.Context())
	servertest.Check(t, err)
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	s := kafkaStore(c.Brokers, int16(len(c.Nodes)))
	write(t, s, "before")
	if err := c.Node(1).Kill(); err != nil {
		t.Fatal(err)
	}
	write(t, s, "without")
	if err := c.Node(1).Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	write(t, s, "again")
	wantTexts(t, s, "before", "without", "again")
}
