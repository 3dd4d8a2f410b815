package stream

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
)

// errAway: the brokers aborted a transaction of this member that took too long.
var errAway = errors.New("the brokers ended the transaction before it was committed")

// away says whether a commit came to nothing because this member was away for too
// long, and not because another process took its name. In both cases the brokers say
// that the producer is an old one, or that the name has another member: this one, if
// it has joined anew meanwhile. Who has taken the name has joined with it, too.
func (g *Group) away(ctx context.Context, err error) bool {
	switch {
	case errors.Is(err, kerr.InvalidTxnState):
		return true // the transaction was aborted, and the next one is this producer's as well
	case errors.Is(err, kerr.ProducerFenced), errors.Is(err, kerr.InvalidProducerEpoch), errors.Is(err, kerr.FencedInstanceID):
	default:
		return false
	}
	for tries := range 4 { // it may be joining just now, and not know yet as whom
		if g.holdsName(ctx) {
			return true
		}
		if backoff(ctx, tries+2) != nil {
			break
		}
	}
	return false
}

// holdsName says whether no other member of the group has this one's name.
func (g *Group) holdsName(ctx context.Context) bool {
	groups, err := g.log.admin.DescribeGroups(ctx, g.id)
	if err != nil || groups.Error() != nil {
		return false
	}
	own, _ := g.session.Client().GroupMetadata()
	for _, m := range groups[g.id].Members {
		if m.InstanceID != nil && *m.InstanceID == g.cfg.Instance && m.MemberID != own {
			return false
		}
	}
	return true
}
