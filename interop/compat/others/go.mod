// SDKs that use go-plugin, whose tests run with compat/goplugin in its place, and a Terraform
// provider on one of them. Outside of go.work, so that the replacement holds here only.
module github.com/plugwire/plugwire/interop/compat/others

go 1.26.0

require (
	github.com/hashicorp/go-plugin v1.8.0
	github.com/hashicorp/terraform-plugin-framework v1.19.0
	github.com/hashicorp/terraform-plugin-go v0.31.0
	github.com/plugwire/plugwire/core v0.1.0
	github.com/plugwire/plugwire/transport/unix v0.1.0
	github.com/spiffe/spire-plugin-sdk v1.9.0
	github.com/terraform-linters/tflint-plugin-sdk v0.25.0
	google.golang.org/grpc v1.85.0
	google.golang.org/protobuf v1.36.12
)

require (
	github.com/agext/levenshtein v1.2.1 // indirect
	github.com/apparentlymart/go-textseg/v15 v15.0.0 // indirect
	github.com/fatih/color v1.18.0 // indirect
	github.com/google/go-cmp v0.7.0 // indirect
	github.com/hashicorp/go-hclog v1.6.3 // indirect
	github.com/hashicorp/go-uuid v1.0.3 // indirect
	github.com/hashicorp/go-version v1.9.0 // indirect
	github.com/hashicorp/hcl/v2 v2.24.0 // indirect
	github.com/hashicorp/terraform-plugin-log v0.10.0 // indirect
	github.com/hashicorp/terraform-registry-address v0.4.0 // indirect
	github.com/hashicorp/terraform-svchost v0.1.1 // indirect
	github.com/hashicorp/yamux v0.1.2 // indirect
	github.com/mattn/go-colorable v0.1.14 // indirect
	github.com/mattn/go-isatty v0.0.24 // indirect
	github.com/mitchellh/go-testing-interface v1.14.1 // indirect
	github.com/mitchellh/go-wordwrap v1.0.1 // indirect
	github.com/plugwire/plugwire/hclogbridge v0.1.0 // indirect
	github.com/plugwire/plugwire/transport/tcp v0.1.0 // indirect
	github.com/rs/zerolog v1.35.1 // indirect
	github.com/vmihailenco/msgpack/v5 v5.4.1 // indirect
	github.com/vmihailenco/tagparser/v2 v2.0.0 // indirect
	github.com/zclconf/go-cty v1.18.1 // indirect
	golang.org/x/mod v0.41.0 // indirect
	golang.org/x/net v0.60.0 // indirect
	golang.org/x/sync v0.23.0 // indirect
	golang.org/x/sys v0.48.0 // indirect
	golang.org/x/text v0.42.0 // indirect
	golang.org/x/tools v0.49.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260817212433-ac3dfec99bb1 // indirect
)

replace (
	github.com/hashicorp/go-plugin => ../../../compat/goplugin
	github.com/plugwire/plugwire/core => ../../../core
	github.com/plugwire/plugwire/hclogbridge => ../../../hclogbridge
	github.com/plugwire/plugwire/transport/tcp => ../../../transport/tcp
	github.com/plugwire/plugwire/transport/unix => ../../../transport/unix
)
