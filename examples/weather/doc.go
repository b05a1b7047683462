// Package weather is the protocol of a weather station, generated from
// weather.proto: the example of docs/handlers-and-errors.md, docs/streaming.md and
// docs/message-design.md.
package weather
