package main

import (
	"fmt"
	"runtime"
	"sync"
	"time"
)

type shape struct{ producers, consumers uint64 }

// moveMessages lets producers and consumers move numbers through one channel, until it is closed. The clock runs from the
// moment when all goroutines are there until all are done.
func moveMessages(who shape, capacity int, messages uint64) time.Duration {
	share := messages / who.producers
	channel := make(chan uint64, capacity)
	start := make(chan struct{})
	arrived := make([]tally, who.consumers)
	var ready, producers, consumers sync.WaitGroup
	ready.Add(int(who.producers + who.consumers))
	producers.Add(int(who.producers))
	consumers.Add(int(who.consumers))
	for i := range who.consumers {
		go func() {
			ready.Done()
			<-start
			arrived[i] = consume(channel)
			consumers.Done()
		}()
	}
	for i := range who.producers {
		go func() {
			ready.Done()
			<-start
			for k := range share {
				channel <- i*share + k
			}
			producers.Done()
		}()
	}
	ready.Wait()
	began := time.Now()
	close(start)
	producers.Wait()
	close(channel)
	consumers.Wait()
	taken := time.Since(began)
	total(arrived).check(messages)
	return taken
}

func consume(channel <-chan uint64) tally {
	var mine tally
	for number := range channel {
		mine.add(number)
	}
	return mine
}

func total(parts []tally) tally {
	var all tally
	for _, part := range parts {
		all.count += part.count
		all.sum += part.sum
	}
	return all
}

// movingCases has no unbounded channels, since Go has none.
func movingCases() []benchCase {
	var cases []benchCase
	add := func(scenario string, processors int, who shape, capacity int) {
		cases = append(cases, benchCase{
			scenario:   fmt.Sprintf("%s/%dP%dC/%d", scenario, who.producers, who.consumers, capacity),
			processors: processors,
			work: func(messages uint64, _ *[]time.Duration) time.Duration {
				return moveMessages(who, capacity, messages)
			},
		})
	}
	capacities := []int{0, 1, 100, 10_000}
	for _, who := range []shape{{1, 1}, {2, 2}, {4, 4}, {4, 1}} {
		for _, capacity := range capacities {
			add("threads", runtime.NumCPU(), who, capacity)
		}
	}
	for _, capacity := range capacities {
		add("tasks", 1, shape{1, 1}, capacity)
	}
	return cases
}
