// Package example is the generated code of the protocol "versioned": the
// messages and clients of its versions 1 ([NewDataProcessorV1Client]) and 2
// ([NewDataProcessorV2Client]), and what a host and a plugin need to speak them
// ([DataProcessorV1Protocol], [ServeDataProcessorV1], and those of version 2).
package example
