package probe

import (
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
)

// stdioBytes is how much the probe sends on StreamStdio: more than all windows of HTTP/2 on
// the way, so that the end of it shows that the host reads.
const (
	stdioBytes = 2 << 20
	stdioPiece = 1 << 10 // as of a plugin on go-plugin
)

// sendStdio sends output as go-plugin's plugins do, if the scene wants that.
func (p *player) sendStdio(stream grpc.ServerStream) error {
	if p.scene.Extras != Stdio {
		return nil
	}
	defer close(p.extra)
	for i := range stdioBytes / stdioPiece {
		message := stdioMessage(i%2+1, strings.Repeat("y", stdioPiece-1)+"\n")
		if err := stream.SendMsg(&message); err != nil {
			return err
		}
	}
	for _, message := range [][]byte{{}, stdioMessage(0, "of no channel"), stdioMessage(7, "of an unknown channel"), stdioMessage(1, "")} {
		if err := stream.SendMsg(&message); err != nil {
			return err
		}
	}
	p.report.event(Event{Kind: Drained, Text: "StreamStdio", N: stdioBytes})
	return nil
}

func stdioMessage(channel int, data string) []byte {
	b := protowire.AppendTag(nil, 1, protowire.VarintType)
	b = protowire.AppendVarint(b, uint64(channel))
	b = protowire.AppendTag(b, 2, protowire.BytesType)
	return protowire.AppendString(b, data)
}

// oddMessages is how many messages of each kind the broker's stream gets.
const oddMessages = 3000

// sendBroker sends messages of the broker that mean nothing, if the scene wants that.
func (p *player) sendBroker(stream grpc.ServerStream) error {
	if p.scene.Extras != Broker {
		return nil
	}
	defer close(p.extra)
	var messages [][]byte
	for i := range oddMessages {
		id := uint32(i + 1)
		messages = append(messages,
			connInfo(id, "carrier-pigeon", "nowhere"),
			connInfo(id, "unix", "/nowhere/"+strings.Repeat("z", 200)),
		)
	}
	messages = append(messages,
		[]byte{},
		connInfo(1<<32-1, "", ""),
		connInfo(0, "tcp", "256.256.256.256:99999"),
		connInfo(5, "unix", strings.Repeat("z", 100_000)),
		connInfo(6, "unix", "a\x00b"),
		protowire.AppendString(protowire.AppendTag(connInfo(7, "unix", "/x"), 99, protowire.BytesType), "an unknown field"),
	)
	for _, message := range messages {
		if err := stream.SendMsg(&message); err != nil {
			return err
		}
	}
	p.report.event(Event{Kind: Drained, Text: "StartStream", N: int64(len(messages))})
	return nil
}

// connInfo is a message plugin.ConnInfo.
func connInfo(id uint32, network, address string) []byte {
	b := protowire.AppendTag(nil, 1, protowire.VarintType)
	b = protowire.AppendVarint(b, uint64(id))
	b = protowire.AppendTag(b, 2, protowire.BytesType)
	b = protowire.AppendString(b, network)
	b = protowire.AppendTag(b, 3, protowire.BytesType)
	return protowire.AppendString(b, address)
}

// drain reads what the host sends on a stream until the end.
func (p *player) drain(stream grpc.ServerStream) {
	var message []byte
	for {
		if err := stream.RecvMsg(&message); err != nil {
			return // its end, or that of the connection
		}
	}
}
