package quic

import "runtime"

// buffersRemedy is what an operator does about small buffers.
var buffersRemedy = func() string {
	if runtime.GOOS == "linux" {
		return "sysctl -w net.core.rmem_max=7500000 net.core.wmem_max=7500000"
	}
	return "sysctl -w kern.ipc.maxsockbuf=8441037"
}()
