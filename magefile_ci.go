//go:build mage

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// fuzzInCI is long enough to run every seed and to find what is shallow.
const fuzzInCI = "50000x"

// CI runs everything: test, and then checks.
func CI(ctx context.Context) error {
	return summarize(ctx, append([]step{{"test", Test}}, checks()...))
}

// Checks runs everything that is in ci but test.
func Checks(ctx context.Context) error { return summarize(ctx, checks()) }

type step struct {
	name string
	run  func(context.Context) error
}

func checks() []step {
	return []step{
		{"generate", checkGenerated},
		{"lint", Lint},
		{"cross", Cross},
		{"isolate", Isolate},
		{"interop", Interop},
		{"fuzz", func(ctx context.Context) error { return fuzz(ctx, fuzzInCI) }},
		{"bench", benchOnce},
		{"demo", Demo},
		{"release:proof", Release{}.Proof},
		{"soak", Soak},
	}
}

// summarize runs all steps, also after one that failed, and prints a table.
func summarize(ctx context.Context, steps []step) error {
	start := time.Now()
	var summary []string
	var failed error
	for _, step := range steps {
		fmt.Printf("\n==== %s (%.0f s so far)\n", step.name, time.Since(start).Seconds())
		began, result := time.Now(), "ok"
		if err := step.run(ctx); err != nil {
			result = "FAILED"
			failed = errors.Join(failed, fmt.Errorf("%s: %w", step.name, err))
			fmt.Println("FAILED:", err)
		}
		summary = append(summary, fmt.Sprintf("%-16s%-8s%4.0f s", step.name, result, time.Since(began).Seconds()))
	}
	fmt.Println("\n" + strings.Join(summary, "\n"))
	return failed
}
