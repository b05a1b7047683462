// Package start holds tests of what a plugin and a host do before their first call. Each start
// of each plugin pays for what its packages initialize before main, so nothing of core is
// initialized there that can be on first use, and core links no package that does.
package start
