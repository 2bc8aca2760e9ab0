package main

import "time"

// oneshotReady makes a channel of capacity 1, sends into it and receives from it: what Go has for a oneshot.
func oneshotReady(count uint64, _ *[]time.Duration) time.Duration {
	var arrived tally
	began := time.Now()
	for i := range count {
		channel := make(chan uint64, 1)
		channel <- i
		arrived.add(<-channel)
	}
	taken := time.Since(began)
	arrived.check(count)
	return taken
}

func oneshotCases() []benchCase {
	return []benchCase{{scenario: "oneshot/ready", processors: 1, work: oneshotReady}}
}
