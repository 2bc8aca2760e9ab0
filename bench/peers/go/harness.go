package main

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// work does a case's thing count times, checks what came of it, and gives the time that it took, without set-up. count is
// a multiple of countUnit. each, if not nil, gets the time of each (only asked of cases with hasLatencies).
type work func(count uint64, each *[]time.Duration) time.Duration

// benchCase is Go's part in one scenario. The last part of a scenario's name is its column of the table, the rest its table.
type benchCase struct {
	scenario     string
	processors   int // GOMAXPROCS: 1 where the scenario is one of tasks in one thread
	work         work
	hasLatencies bool
}

type figures struct {
	perSecond float64
	p50, p99  time.Duration // only of cases with hasLatencies
}

const (
	// Divisible by every number of producers.
	countUnit = 8
	// The first guess, and more than any run may take: a peer so fast is measured by shorter runs.
	countMin = 64
	countMax = 80_000_000
	// Of the wanted time: how long a run must last to tell how many times make a whole one.
	shortest     = 0.25
	latenciesMax = 1_000_000
)

func clamp(value, low, high float64) float64 { return math.Min(math.Max(value, low), high) }

func asCount(wanted float64) uint64 {
	return uint64(clamp(wanted, countMin, countMax)) / countUnit * countUnit
}

// countFor finds how often the work can be done in so many seconds, by shorter runs, which also warm up.
func countFor(w work, seconds float64) uint64 {
	count := uint64(countMin)
	for {
		taken := math.Max(w(count, nil).Seconds(), 1e-9)
		scale := seconds / taken
		if scale*shortest <= 1 || count == countMax {
			return asCount(float64(count) * scale)
		}
		count = asCount(float64(count) * clamp(scale/2, 2, 16))
	}
}

// measure makes one timed run of about so many seconds.
func measure(one benchCase, seconds float64) figures {
	count := countFor(one.work, seconds)
	measured := figures{perSecond: float64(count) / one.work(count, nil).Seconds()}
	if !one.hasLatencies {
		return measured
	}
	// A run of its own: to look at the clock twice per trip would slow the rate down.
	trips := min(count, latenciesMax)
	each := make([]time.Duration, 0, trips)
	one.work(trips, &each)
	slices.Sort(each)
	measured.p50 = each[len(each)/2]
	measured.p99 = each[len(each)*99/100]
	return measured
}

// tally is what has arrived: how many numbers, and their sum.
type tally struct{ count, sum uint64 }

func (t *tally) add(number uint64) {
	t.count++
	t.sum += number
}

// check panics unless 0, 1, ... count-1 have arrived.
func (t tally) check(count uint64) {
	if t.count != count || t.sum != count*(count-1)/2 {
		panic(fmt.Sprintf("%d messages arrived of %d, or others than were sent", t.count, count))
	}
}
