package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/plugwire/plugwire/core/internal/board"
)

// WithStatus lets other processes of the same user see the plugin: its state, process,
// restarts, the counts and durations of the host's calls, and the last lines of its log.
// The command plugwire shows them (plugwire top, plugwire logs), and docs/observability.md
// describes the format for other tools.
//
// A process has one unix socket for all plugins with the option, in XDG_RUNTIME_DIR or else
// in the directory for temporary files. The socket is there while such a plugin lives, and
// answers only processes of this user and root. Nobody can change anything by it. If the
// socket cannot be made, the host logs a warning and goes on without it.
//
// Readers get what the plugin logs at info and above, even if the host's own logger wants
// less ([WithLogger]). The plugin then learns the level info. Readers get lower levels only
// if that logger wants them.
//
// A plugin that package supervise starts again keeps its counts and its log. So does one
// that is launched under the name of one that has ended, while the socket is there.
//
// A call costs two atomic additions more, and no allocation. Each plugin has at most 128
// KiB of log lines in memory. On Windows the option is an error that wraps
// [errors.ErrUnsupported].
func WithStatus() Option {
	return optionFunc(func(cfg *config) error {
		if !board.Supported {
			return fmt.Errorf("host.WithStatus: there is no status socket on this system: %w", errors.ErrUnsupported)
		}
		cfg.status = true
		return nil
	})
}

// showStatus puts the start on the board of this process, if an option asks for that.
func (l *launch) showStatus(ctx context.Context) {
	if !l.status {
		return
	}
	logger := l.logger
	l.shown = board.Begin(ctx, l.name, func(err error) {
		logger.Warn("no other process can see this plugin (host.WithStatus)", "error", err)
	})
	l.logger = slog.New(l.shown.Handler(logger.Handler()))
}

// boardInfo returns info as the board has it.
func boardInfo(info Info) board.Info {
	return board.Info{
		Protocol: info.Protocol, Version: info.Version, Transport: info.Transport.String(),
		Session: info.Session, Wire: info.Wire, Security: info.Security,
	}
}
