package main

import (
	"runtime"
	"time"
)

// pingPong sends numbers there and back over two channels of capacity 1.
func pingPong(trips uint64, each *[]time.Duration) time.Duration {
	there, back := make(chan uint64, 1), make(chan uint64, 1)
	go func() {
		for number := range there {
			back <- number
		}
		close(back)
	}()
	trip := func(number uint64) uint64 {
		there <- number
		return <-back
	}
	trip(0) // the other goroutine runs
	var arrived tally
	began := time.Now()
	for i := range trips {
		if each == nil {
			arrived.add(trip(i))
			continue
		}
		left := time.Now()
		arrived.add(trip(i))
		*each = append(*each, time.Since(left))
	}
	taken := time.Since(began)
	close(there)
	<-back
	arrived.check(trips)
	return taken
}

func pingPongCases() []benchCase {
	return []benchCase{
		{scenario: "ping-pong/threads", processors: runtime.NumCPU(), work: pingPong, hasLatencies: true},
		{scenario: "ping-pong/tasks", processors: 1, work: pingPong, hasLatencies: true},
	}
}
