package main

import (
	"fmt"
	"runtime"
	"time"
)

const selectCapacity = 100

func select2(c []chan uint64) uint64 {
	select {
	case number := <-c[0]:
		return number
	case number := <-c[1]:
		return number
	}
}

func select8(c []chan uint64) uint64 {
	select {
	case number := <-c[0]:
		return number
	case number := <-c[1]:
		return number
	case number := <-c[2]:
		return number
	case number := <-c[3]:
		return number
	case number := <-c[4]:
		return number
	case number := <-c[5]:
		return number
	case number := <-c[6]:
		return number
	case number := <-c[7]:
		return number
	}
}

// selecting receives from several channels, which one producer feeds in turn.
func selecting(channels int, one func([]chan uint64) uint64) work {
	return func(messages uint64, _ *[]time.Duration) time.Duration {
		all := make([]chan uint64, channels)
		for i := range all {
			all[i] = make(chan uint64, selectCapacity)
		}
		began := time.Now()
		go func() {
			for i := range messages {
				all[i%uint64(channels)] <- i
			}
		}()
		var arrived tally
		for range messages {
			arrived.add(one(all))
		}
		taken := time.Since(began)
		arrived.check(messages)
		return taken
	}
}

func selectCases() []benchCase {
	var cases []benchCase
	for _, where := range []struct {
		name       string
		processors int
	}{{"threads", runtime.NumCPU()}, {"tasks", 1}} {
		for _, over := range []struct {
			channels int
			one      func([]chan uint64) uint64
		}{{2, select2}, {8, select8}} {
			cases = append(cases, benchCase{
				scenario:   fmt.Sprintf("select/%s/%d", where.name, over.channels),
				processors: where.processors,
				work:       selecting(over.channels, over.one),
			})
		}
	}
	return cases
}
