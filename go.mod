module github.com/plugwire/plugwire

go 1.26.0

tool github.com/magefile/mage

require (
	github.com/magefile/mage v1.17.2
	golang.org/x/mod v0.42.0
	golang.org/x/term v0.46.0
)

require golang.org/x/sys v0.48.0 // indirect
