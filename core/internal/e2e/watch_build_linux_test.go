package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/supervise"
)

// TestWatchedSource saves a source of a plugin under load. The watcher builds the program and
// swaps it in. No call fails. go build takes most of the time of this test.
func TestWatchedSource(t *testing.T) {
	t.Parallel()
	measureSaves(t, 1)
}

// buildHang is hang for a build, which on a busy machine takes many times as long as on a
// quiet one.
const buildHang = 5 * hang

// saveTimes are the times of one save of a source.
type saveTimes struct {
	build   time.Duration // of the build command
	serving time.Duration // from the save to the first answer of the new version
}

// measureSaves saves a source of a plugin, each time with another version, and waits for the
// first answer of that version. Meanwhile callers call, and no call may fail.
func measureSaves(t *testing.T, saves int) []saveTimes {
	t.Helper()
	dir := t.TempDir()
	program, source, overlay := filepath.Join(dir, "saved"), filepath.Join(dir, "main.go"), filepath.Join(dir, "overlay.json")
	original, err := filepath.Abs(filepath.Join("saved", "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(original)
	if err != nil {
		t.Fatal(err)
	}
	replaced, err := json.Marshal(map[string]map[string]string{"Replace": {original: source}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(overlay, replaced, 0o600); err != nil {
		t.Fatal(err)
	}
	version := func(save int) []byte { return fmt.Appendf(nil, "saved %d times", save) }
	save := func(n int) {
		t.Helper()
		if err := os.WriteFile(source, bytes.Replace(text, version(0), version(n), 1), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"build", "-buildvcs=false", "-overlay", overlay, "-o", program}
	if raceEnabled { // the packages that it imports are built for this test already
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "./saved")...)
	save(0)
	first := exec.Command(build.Path, build.Args[1:]...)
	if out, err := first.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}

	events := make(chan supervise.Event, 1000)
	h := superviseTest(t, launching(t, exec.Command(program)), supervise.WithListener(func(e supervise.Event) { events <- e }))
	watcher, err := supervise.Watch(h, program, supervise.WithBuild(build, source))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := watcher.Close(); err != nil {
			t.Error(err)
		}
	})
	stop := superviseLoad(t, h, false, func(error) bool { return false })
	await := func(want supervise.Kind) supervise.Event {
		t.Helper()
		for {
			switch e := waitFor(t, string(want), events); e.Kind {
			case want:
				return e
			case supervise.KindBuildFailed, supervise.KindRefused:
				t.Fatalf("%s: %v; want %s", e.Kind, e.Err, want)
			default:
			}
		}
	}
	client := echopb.NewEchoClient(h)
	var all []saveTimes
	for n := range saves {
		want := version(n + 1)
		began := time.Now()
		save(n + 1)
		for deadline := began.Add(buildHang); ; {
			ctx, cancel := context.WithDeadline(t.Context(), deadline)
			answer, err := client.Fail(ctx, &echopb.FailRequest{})
			cancel()
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Equal(answer.GetData(), want) {
				break
			}
		}
		serving := time.Since(began)
		building := await(supervise.KindBuilding)
		built := await(supervise.KindBuilt)
		await(supervise.KindSwapped)
		all = append(all, saveTimes{built.Time.Sub(building.Time), serving})
	}
	answered, failed := stop()
	t.Logf("%d calls answered, %d failed; the last build took %v, and the new version served after %v",
		answered, failed, all[saves-1].build, all[saves-1].serving)
	if answered == 0 || failed > 0 {
		t.Errorf("%d calls answered, %d failed", answered, failed)
	}
	return all
}
