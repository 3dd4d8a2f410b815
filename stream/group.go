package stream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// idlePoll is how often a group with nothing to read looks whether its partitions are
	// still its own.
	idlePoll = time.Second
	// endTimeout bounds the end of a transaction while brokers cannot be reached; Run then
	// fails, and the next one finds out what became of it.
	endTimeout = 2 * time.Minute
	// closeTimeout bounds a member's goodbye.
	closeTimeout = 10 * time.Second
)

// GroupConfig says who a member is. Durations that are 0 are the client's defaults.
type GroupConfig struct {
	// Name of the group within the migration: the stage it does. The group's id is
	// trueup.<migration>.<name>.
	Name string
	// Instance names this member, over restarts. Two members with one instance fence each
	// other. A member that comes back within SessionTimeout gets its partitions back
	// without a rebalance; until then nobody else reads them.
	Instance string
	// Leave gives the partitions to the other members at once when Run returns: for a
	// member that will not come back.
	Leave bool

	MaxPollRecords     int           // of a batch; 0: 20000
	SessionTimeout     time.Duration // 45 s
	HeartbeatInterval  time.Duration // 3 s
	RebalanceTimeout   time.Duration // 60 s; a batch must be worked on within it
	TransactionTimeout time.Duration // 40 s
	// ServerSide leaves the assignment to the brokers (KIP-848): only with Kafka 4.3 and
	// later, where a commit cannot race with it.
	ServerSide bool
}

func (c *GroupConfig) validate() error {
	if err := validMigration(c.Name); err != nil {
		return fmt.Errorf("group name %q: use letters, digits, '-' and '_'", c.Name)
	}
	if err := validMigration(c.Instance); err != nil {
		return fmt.Errorf("group instance %q: use letters, digits, '-' and '_'", c.Instance)
	}
	if c.MaxPollRecords < 0 {
		return fmt.Errorf("group: a poll of %d records", c.MaxPollRecords)
	}
	return nil
}

// Group is a member of a consumer group over the changes topic: it reads committed
// records of the partitions it is assigned, from where its handler's state is, and
// writes the handler's outputs and the offsets in one transaction a batch.
//
// It is bounded: at most MaxPollRecords in a batch, and what the brokers send in one
// answer each beside it.
type Group struct {
	log     *Log
	cfg     GroupConfig
	id      string
	topic   TopicInfo
	handler Handler
	session *kgo.GroupTransactSession
	alive   context.Context // ends when the embedded broker stops by itself

	// turn is held by whoever calls the handler: from the beginning of a batch to its
	// end, and while a partition is assigned. It guards owned.
	turn  turn
	owned map[int32]*ownedPartition
	room  []Record // of a batch's parts; under turn

	recycled sync.WaitGroup // the memory of the batch before

	// mu guards what the client's callbacks leave for others, without waiting.
	mu         sync.Mutex
	gone       []departure
	err        error              // of a callback; ends Run
	rebalanced bool               // since the session's last transaction
	wake       context.CancelFunc // of the poll that waits
}

// departure is a partition that the handler has to be told is gone.
type departure struct {
	partition int32
	lost      bool
}

// ownedPartition is a partition of which the handler was told that it is assigned.
type ownedPartition struct {
	next    Position // what was delivered and committed ends here
	seen    bool     // the client reads it
	stopped bool     // it cannot be read on
}

// Group returns a member of a group. It joins when Run is called.
func (l *Log) Group(cfg GroupConfig, handler Handler) (*Group, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.MaxPollRecords == 0 {
		cfg.MaxPollRecords = maxPollRecords
	}
	return &Group{
		log:     l,
		cfg:     cfg,
		id:      "trueup." + l.cfg.Migration + "." + cfg.Name,
		topic:   l.topics[l.names.Changes],
		handler: handler,
		turn:    newTurn(),
		owned:   make(map[int32]*ownedPartition),
	}, nil
}

// Run joins the group and works until ctx ends, then finishes the batch that is in
// flight, hands its partitions over, and returns nil. Any other return is an error:
// ErrFenced if another process took this instance's name, what the handler returned,
// or what cannot be retried. It may be run again.
//
// A member that was away in the middle of a transaction for longer than brokers wait
// (TransactionTimeout) finds it aborted, and joins again.
func (g *Group) Run(ctx context.Context) error {
	for {
		err := g.member(ctx)
		if !errors.Is(err, errAway) {
			return err
		}
		if ctx.Err() != nil {
			return nil // nothing of the batch is there, and it comes again
		}
		g.log.cfg.Log.Warn("away for longer than brokers wait for a transaction; joining again", "group", g.id, "instance", g.cfg.Instance, "err", err)
	}
}

// member is one membership, from joining to leaving.
func (g *Group) member(ctx context.Context) error {
	alive, end := context.WithCancelCause(context.Background())
	defer end(nil)
	defer g.log.onFailure(func(err error) { end(err) })()
	g.alive = alive
	g.err = nil
	opts, err := g.options()
	if err != nil {
		return err
	}
	g.turn.take() // the client calls back from its first moment on
	g.session, err = kgo.NewGroupTransactSession(opts...)
	g.turn.give()
	if err != nil {
		return fmt.Errorf("group %q: %w", g.id, err)
	}
	err = g.loop(ctx)
	g.close(err)
	if cause := context.Cause(alive); cause != nil {
		err = cause
	}
	if err == nil {
		err = g.failure() // while handing over
	}
	if err != nil {
		return fmt.Errorf("group %q instance %q: %w", g.id, g.cfg.Instance, err)
	}
	return nil
}

func (g *Group) options() ([]kgo.Opt, error) {
	opts, err := g.log.producingOptions(g.outputs(), 0, eventCompression)
	if err != nil {
		return nil, err
	}
	opts = append(opts,
		kgo.ConsumerGroup(g.id),
		kgo.InstanceID(g.cfg.Instance),
		kgo.TransactionalID(g.id+"."+g.cfg.Instance),
		kgo.ConsumeTopics(g.topic.Name),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.WithPools(new(pool)),
		kgo.FetchMaxBytes(groupFetchBytes),
		kgo.FetchMaxPartitionBytes(groupFetchPartitionBytes),
		kgo.AdjustFetchOffsetsFn(g.adjust),
		kgo.OnPartitionsRevoked(g.onRevoked),
		kgo.OnPartitionsLost(g.onLost),
	)
	if g.cfg.SessionTimeout > 0 {
		opts = append(opts, kgo.SessionTimeout(g.cfg.SessionTimeout))
	}
	if g.cfg.HeartbeatInterval > 0 {
		opts = append(opts, kgo.HeartbeatInterval(g.cfg.HeartbeatInterval))
	}
	if g.cfg.RebalanceTimeout > 0 {
		opts = append(opts, kgo.RebalanceTimeout(g.cfg.RebalanceTimeout))
	}
	if g.cfg.TransactionTimeout > 0 {
		opts = append(opts, kgo.TransactionTimeout(g.cfg.TransactionTimeout))
	}
	if g.cfg.ServerSide {
		opts = append(opts, kgo.ServerSideBalancer())
	}
	return opts, nil
}

// outputs is a topic with the smallest of the topics' limits: one client writes to all.
func (g *Group) outputs() TopicInfo {
	smallest := g.topic
	for _, t := range g.log.topics {
		smallest.MaxRecordBytes = min(smallest.MaxRecordBytes, t.MaxRecordBytes)
	}
	return smallest
}

// loop polls until ctx ends or something cannot be gone on with.
func (g *Group) loop(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(g.alive, cancel)()
	for tries := 0; ctx.Err() == nil; {
		fetches := g.poll(ctx)
		again, err := g.handle(ctx, fetches)
		g.session.AllowRebalance()
		if err != nil {
			return err
		}
		if !again {
			tries = 0
			continue
		}
		if err := backoff(ctx, tries); err != nil {
			break
		}
		tries++
	}
	return nil
}

// poll waits for records, but not longer than idlePoll, nor over a rebalance.
func (g *Group) poll(ctx context.Context) kgo.Fetches {
	ctx, cancel := context.WithTimeout(ctx, idlePoll)
	defer cancel()
	g.mu.Lock()
	g.wake = cancel
	g.mu.Unlock()
	return g.session.PollRecords(ctx, g.cfg.MaxPollRecords)
}

// handle works on what was polled. No rebalance can happen until it ends a transaction.
// It says whether
// the records were given back, to be polled again.
func (g *Group) handle(ctx context.Context, fetches kgo.Fetches) (again bool, err error) {
	if err := g.failure(); err != nil {
		return false, err
	}
	// The session refuses the first commit after a rebalance, and keeps the next
	// rebalances to itself until then. An empty transaction gets that over with, at the
	// price of polling again.
	if g.takeRebalanced() {
		return false, g.rewind(ctx)
	}
	if err := g.reconcile(ctx); err != nil {
		return false, err
	}
	stopped, err := g.fetchErrors(ctx, fetches)
	if err != nil {
		return false, err
	}
	if stopped {
		return false, g.rewind(ctx)
	}
	if fetches.NumRecords() == 0 {
		return false, nil
	}
	return g.transact(ctx, fetches)
}

// close ends the session and gives back every partition that is still held.
func (g *Group) close(err error) {
	g.recycled.Wait()
	g.session.CloseAllowingRebalance()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(g.alive), closeTimeout)
	defer cancel()
	if g.cfg.Leave && !errors.Is(err, ErrFenced) && g.alive.Err() == nil {
		if _, err := g.log.admin.LeaveGroup(ctx, kadm.LeaveGroup(g.id).InstanceIDs(g.cfg.Instance)); err != nil {
			g.log.cfg.Log.Warn("group not left: its partitions are free after the session timeout", "group", g.id, "instance", g.cfg.Instance, "err", err)
		}
	}
	g.turn.take()
	defer g.turn.give()
	g.tell(ctx)
	for p := range g.owned {
		g.release(ctx, departure{partition: p})
	}
}

func (g *Group) failure() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.err
}

// fail ends Run with an error of a callback.
func (g *Group) fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err == nil {
		g.err = err
	}
	if g.wake != nil {
		g.wake()
	}
}

// fetchErrors looks at what the client reports beside records. It says whether a
// partition was stopped, so that nothing of this poll may be used.
func (g *Group) fetchErrors(ctx context.Context, fetches kgo.Fetches) (stopped bool, err error) {
	for _, fe := range fetches.Errors() {
		var session *kgo.ErrGroupSession
		if errors.As(fe.Err, &session) {
			if err := g.sessionError(session.Err); err != nil {
				return stopped, err
			}
			continue
		}
		if fe.Topic != g.topic.Name { // the poll's own end
			if errors.Is(fe.Err, kgo.ErrClientClosed) {
				return stopped, ErrClosed
			}
			continue
		}
		was, err := g.partitionError(ctx, fe)
		if err != nil {
			return stopped, err
		}
		stopped = stopped || was
	}
	return stopped, nil
}

func (g *Group) partitionError(ctx context.Context, fe kgo.FetchError) (stopped bool, err error) {
	g.turn.take()
	defer g.turn.give()
	at := int64(0)
	if o := g.owned[fe.Partition]; o != nil {
		at = o.next.Offset
	}
	if err := g.log.consumeError(ctx, fe, at); err != nil {
		return true, g.stop(ctx, fe.Partition, err)
	}
	return false, nil
}

// sessionError tells what ends a member from what it recovers from by joining again.
func (g *Group) sessionError(err error) error {
	if ferr := g.failure(); ferr != nil {
		return ferr
	}
	for _, final := range []error{
		kerr.FencedInstanceID, kerr.UnreleasedInstanceID, kerr.GroupAuthorizationFailed, kerr.TopicAuthorizationFailed,
		kerr.TransactionalIDAuthorizationFailed, kerr.InconsistentGroupProtocol, kerr.GroupMaxSizeReached,
		kerr.InvalidSessionTimeout, kerr.InvalidGroupID, kerr.UnsupportedVersion, kerr.UnsupportedAssignor,
	} {
		if errors.Is(err, final) {
			return explain(err)
		}
	}
	g.log.cfg.Log.Warn("group membership lost; joining again", "group", g.id, "instance", g.cfg.Instance, "err", err)
	return nil
}
