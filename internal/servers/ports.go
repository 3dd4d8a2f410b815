package servers

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
)

// Ports are taken from below the usual ephemeral ranges (from 32768 on Linux,
// 49152 elsewhere), so that an outgoing connection cannot take a server's port
// while it is down between Kill and Restart.
const (
	portMin = 20000
	portMax = 32000
)

// errPortTaken says that a server could not listen because of somebody else.
var errPortTaken = errors.New("port taken by another process")

// portTaken recognises errPortTaken in the last words of any of the servers.
func portTaken(tail string) error {
	if strings.Contains(tail, "ddress already in use") {
		return errPortTaken
	}
	return nil
}

// startAttempts bounds how often a start is tried with other ports. A collision
// needs two processes to choose the same one of 12000 within a second.
const startAttempts = 5

// freePorts returns n different ports that nobody listened on a moment ago.
func freePorts(n int) ([]int, error) {
	ports := make([]int, 0, n)
	for range 1000 {
		port := portMin + rand.IntN(portMax-portMin)
		l, err := net.Listen("tcp", loopback(port))
		if err != nil {
			continue
		}
		defer l.Close() // held until all are chosen, so that they differ
		if ports = append(ports, port); len(ports) == n {
			return ports, nil
		}
	}
	return nil, fmt.Errorf("no free port on 127.0.0.1 between %d and %d", portMin, portMax)
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
