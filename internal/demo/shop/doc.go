// Package shop is the application that the demo moves: an order service that
// writes every order to two stores, and the ways in which such a service goes
// wrong.
//
// It promises:
//
//   - What it writes, to which keys, with which values and tags, follows from the
//     seed alone. How its writers interleave is left to the machine.
//   - Legitimate writes never race on a key: an application lock per order is held
//     over both stores. They differ in which store is written first, in how many
//     rows a transaction has, and in how long the other store has to wait.
//   - A fault is a write, or a write left out, that an application or a person
//     could have made. It is announced before it is made, with every key at which
//     it must be found and the kind it must be found as. The legitimate writers
//     never touch its order, neither before nor after.
//   - Compare reads both stores in full and knows nothing of Trueup's canonical
//     values.
//
// It assumes two stores of its own, with empty tables: a PostgreSQL and a
// MariaDB.
//
// The order of a run: writers open the shared orders and the orders that faults
// will hit; then they write at the planned pace while faults are planted at
// planned times, with a quiet spell for the time in which a store is held back.
package shop
