package targets

import "github.com/plugwire/plugwire/internal/api"

// API lists what users compile against, in the directory api. With -accept it also writes an incompatible change.
func API(accept *bool) error { return api.Update(".", deref(accept, false)) }
