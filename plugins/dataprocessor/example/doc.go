// Package example is the generated code of the sample service DataProcessor:
// its messages, its client ([NewDataProcessorClient]), and what a host and a
// plugin need to speak it ([DataProcessorProtocol], [ServeDataProcessor]).
package example
