// Package others imports the packages whose tests run with compat/goplugin in go-plugin's
// place, and what these tests need.
package others

import (
	_ "github.com/spiffe/spire-plugin-sdk/plugintest"
	_ "github.com/terraform-linters/tflint-plugin-sdk/plugin"
)
