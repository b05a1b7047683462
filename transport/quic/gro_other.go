//go:build !linux

package quic

import "net"

func coalesce(p peer) net.PacketConn { return p }
