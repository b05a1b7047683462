// Package weather is the protocol of a weather station, generated from
// weather.proto: the example of the pages in docs that README.md lists.
package weather
