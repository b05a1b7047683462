package peer

import (
	"github.com/plugwire/plugwire/core/internal/e2e/peer/chaoshost"
	"github.com/plugwire/plugwire/core/internal/e2e/peer/chaosplugin"
	"github.com/plugwire/plugwire/core/internal/e2e/peer/forbid"
	"github.com/plugwire/plugwire/core/internal/e2e/peer/lifehost"
	"github.com/plugwire/plugwire/core/internal/e2e/peer/lifeplugin"
	"github.com/plugwire/plugwire/core/internal/e2e/peer/loss"
)

// systemPrograms are the programs for this system only.
var systemPrograms = map[string]func(){
	"chaos-host":   chaoshost.Main,
	"chaos-plugin": chaosplugin.Main,
	"forbid":       forbid.Main,
	"life-host":    lifehost.Main,
	"life-plugin":  lifeplugin.Main,
	"loss":         loss.Main,
}
