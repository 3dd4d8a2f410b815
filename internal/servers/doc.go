// Package servers starts private PostgreSQL, MariaDB and Apache Kafka servers
// for the demo, the tests and the benchmarks.
//
// It promises:
//
//   - Each server has its own directory and listens on 127.0.0.1 only, on free
//     ports below the ephemeral range; any number run side by side, in one
//     process or in many. Restart keeps the port and the data.
//   - A Start that returned without error has spoken to the very server that it
//     started (its data directory or cluster id is compared), not to another one
//     that took the port.
//   - A server that dies while starting is reported with the end of its log.
//   - Servers do not outlive this process, however it ends: on Linux the kernel
//     ends them (PR_SET_PDEATHSIG); elsewhere Stop has to be called.
//   - Nothing is found or ended by name: only processes started here are signalled.
//
// It assumes:
//
//   - Binaries of PostgreSQL and MariaDB are installed, or Bin names them. Kafka
//     needs a Java runtime, and Maven once to fetch it. What is not there is
//     reported by an error that wraps ErrMissing.
//   - Logins need no password, so every account of this machine can enter:
//     these servers hold made-up data, never anything that matters.
//   - PostgreSQL and MariaDB refuse to run as root. When we are root they run as
//     the account of their package, else as nobody, and their directory must be
//     reachable for that account.
//
// The order of a start: find the binaries, make the private directory, choose
// the account, initialise the data once (into a second name, then renamed), take
// free ports, start the process, connect until it answers; on a collision of
// ports the last three again.
package servers

import "errors"

// ErrMissing is wrapped by errors that say that a server's programs are not on
// this machine. The text names them and how to get them.
var ErrMissing = errors.New("not installed")
