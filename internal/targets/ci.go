package targets

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// fuzzInCI is long enough to run every seed and to find shallow defects.
const fuzzInCI = "10000x"

// nightlyHunt is how long the nightly hunt takes.
const nightlyHunt = 2 * time.Hour

// CI runs everything: test, and then checks.
func CI(ctx context.Context) error {
	return summarize(ctx, append([]step{{"test", Test}}, checks()...))
}

// Checks runs everything in ci except test.
func Checks(ctx context.Context) error { return summarize(ctx, checks()) }

type step struct {
	name string
	run  func(context.Context) error
}

func checks() []step {
	return []step{
		{"generate", checkGenerated},
		{"lint", Lint},
		{"cross", func(ctx context.Context) error { return cross(ctx, commonPlatforms) }},
		{"isolate", Isolate},
		{"interop", Interop},
		{"fuzz", func(ctx context.Context) error { return fuzz(ctx, fuzzInCI) }},
		{"bench", benchOnce},
		{"demo", Demo},
		{"release:proof", Release{}.Proof},
	}
}

// Nightly runs the checks that take too long before each landing: long fuzzing, all
// platforms, the whole soak, the loss of packets, and a hunt.
func Nightly(ctx context.Context) error {
	duration := nightlyHunt
	return summarize(ctx, []step{
		{"soak", Soak},
		{"cross", Cross},
		{"fuzz", Fuzz},
		{"loss", Loss},
		{"hunt", func(ctx context.Context) error { return Hunt(ctx, &duration, nil, nil, nil) }},
	})
}

// summarize runs all steps, even after a failed one, and prints a table.
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
