// Package example is the generated code of the protocol "versioned". It has the
// messages and clients of its versions 1 ([NewDataProcessorV1Client]) and 2
// ([NewDataProcessorV2Client]). A host gives [DataProcessorV1Protocol] or its like of
// version 2. A plugin uses [ServeDataProcessorV1] or its like.
package example
