// Package migrating has the programs that docs/migrating-from-go-plugin.md explains:
// one host and one plugin, before the move and after it.
package migrating
