// Go's channels, as one of the programs that bench/peers runs side by side.
//
//	peers list                          a line for each case: scenario, peer, version
//	peers run SCENARIO PEER SECONDS     one timed run: scenario, peer, times a second, p50 ns, p99 ns (or -)
//
// Fields are separated by tabs. A run whose messages were lost or duplicated panics.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
)

const peer = "go"

func allCases() []benchCase {
	var cases []benchCase
	cases = append(cases, movingCases()...)
	cases = append(cases, pingPongCases()...)
	cases = append(cases, selectCases()...)
	return append(cases, oneshotCases()...)
}

func find(scenario string) (benchCase, bool) {
	for _, one := range allCases() {
		if one.scenario == scenario {
			return one, true
		}
	}
	return benchCase{}, false
}

func run(one benchCase, seconds float64) {
	runtime.GOMAXPROCS(one.processors)
	measured := measure(one, seconds)
	fmt.Printf("%s\t%s\t%.0f\t", one.scenario, peer, measured.perSecond)
	if one.hasLatencies {
		fmt.Printf("%d\t%d\n", measured.p50.Nanoseconds(), measured.p99.Nanoseconds())
	} else {
		fmt.Printf("-\t-\n")
	}
}

func fail(format string, words ...any) {
	fmt.Fprintf(os.Stderr, "peers: "+format+"\n", words...)
	os.Exit(2)
}

func main() {
	words := os.Args[1:]
	switch {
	case len(words) == 1 && words[0] == "list":
		for _, one := range allCases() {
			fmt.Printf("%s\t%s\t%s\n", one.scenario, peer, runtime.Version())
		}
	case len(words) == 4 && words[0] == "run":
		one, found := find(words[1])
		seconds, err := strconv.ParseFloat(words[3], 64)
		if !found || words[2] != peer || err != nil {
			fail("there is no run %v", words[1:])
		}
		run(one, seconds)
	default:
		fail("usage: peers list | run SCENARIO PEER SECONDS")
	}
}
