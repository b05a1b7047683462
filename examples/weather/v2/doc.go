// Package weatherv2 is version 2 of the protocol of package weather, generated from
// weather.proto: the example of docs/protocols-and-versioning.md.
package weatherv2
