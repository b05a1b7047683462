// Command drive is a host of a Terraform provider. It does what Terraform does: it asks for the
// schema, configures the provider, plans a resource and applies the plan.
//
//	drive plugwire PROVIDER    the host is on Plugwire
//	drive compat PROVIDER      the host is on go-plugin's API
//	drive die PROVIDER         the host is on go-plugin's API, and kills itself
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	_ "github.com/hashicorp/terraform-plugin-go/tfprotov6/tf6server" // describes the messages
	"github.com/hashicorp/terraform-plugin-go/tftypes"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/transport/unix"
)

// The cookie of providers.
const (
	cookieName  = "TF_PLUGIN_MAGIC_COOKIE"
	cookieValue = "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2"
)

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}

func run(kind, program string) (err error) {
	var conn grpc.ClientConnInterface
	var pid int
	switch kind {
	case "plugwire":
		p, err := host.Launch(context.Background(), exec.Command(program), host.WithProtocols(protocol.New("tfplugin6", 6)),
			host.WithTransports(unix.New()), host.WithCookie(cookieName, cookieValue))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, p.Close()) }()
		conn, pid = p, p.Info().PID
	default:
		client := plugin.NewClient(&plugin.ClientConfig{
			HandshakeConfig:  plugin.HandshakeConfig{MagicCookieKey: cookieName, MagicCookieValue: cookieValue},
			VersionedPlugins: map[int]plugin.PluginSet{6: {"provider": providerPlugin{}}},
			Cmd:              exec.Command(program),
			AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
			AutoMTLS:         true,
		})
		defer client.Kill()
		protocol, err := client.Client()
		if err != nil {
			return err
		}
		raw, err := protocol.Dispense("provider")
		if err != nil {
			return err
		}
		conn, pid = raw.(*grpc.ClientConn), client.ReattachConfig().Pid
	}
	if err := apply(conn); err != nil {
		return err
	}
	if kind == "die" {
		fmt.Println("pid:", pid)
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	return nil
}

// providerPlugin dispenses the connection itself.
type providerPlugin struct{ plugin.NetRPCUnsupportedPlugin }

func (providerPlugin) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error { return nil }

func (providerPlugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}

var (
	configType = tftypes.Object{AttributeTypes: map[string]tftypes.Type{"greeting": tftypes.String}}
	cardType   = tftypes.Object{AttributeTypes: map[string]tftypes.Type{"name": tftypes.String, "text": tftypes.String}}
)

// apply does all calls, and prints what came of them.
func apply(conn grpc.ClientConnInterface) error {
	schema, err := call(conn, "GetProviderSchema", nil)
	if err != nil {
		return err
	}
	if !strings.Contains(fmt.Sprint(schema.Interface()), "greetings_card") {
		return fmt.Errorf("the schema is %v", schema.Interface())
	}
	fmt.Println("schema: greetings_card")
	config := value(configType, map[string]tftypes.Value{"greeting": tftypes.NewValue(tftypes.String, "Hello")})
	if _, err := call(conn, "ConfigureProvider", map[string][]byte{"config": config}); err != nil {
		return err
	}
	fmt.Println("configured")
	for _, name := range []string{"world", "nobody"} {
		card := func(text any) []byte {
			return value(cardType, map[string]tftypes.Value{"name": tftypes.NewValue(tftypes.String, name), "text": tftypes.NewValue(tftypes.String, text)})
		}
		none := encode(cardType, tftypes.NewValue(cardType, nil))
		plan, err := call(conn, "PlanResourceChange", map[string][]byte{"prior_state": none, "config": card(nil), "proposed_new_state": card(tftypes.UnknownValue)})
		if err != nil {
			return err
		}
		planned := dynamic(plan, "planned_state")
		fmt.Println("planned")
		applied, err := call(conn, "ApplyResourceChange", map[string][]byte{"prior_state": none, "config": card(nil), "planned_state": planned})
		if err != nil {
			fmt.Println("apply:", err)
			continue
		}
		state, err := tfprotov6.DynamicValue{MsgPack: dynamic(applied, "new_state")}.Unmarshal(cardType)
		if err != nil {
			return err
		}
		var fields map[string]tftypes.Value
		var text string
		if err := errors.Join(state.As(&fields), fields["text"].As(&text)); err != nil {
			return err
		}
		fmt.Println("applied:", text)
	}
	return nil
}

// call calls a method by its name. Its messages are in an internal package of
// terraform-plugin-go. fields are dynamic values.
func call(conn grpc.ClientConnInterface, method string, fields map[string][]byte) (protoreflect.Message, error) {
	request, err := newMessage(method + ".Request")
	if err != nil {
		return nil, err
	}
	response, err := newMessage(method + ".Response")
	if err != nil {
		return nil, err
	}
	m := request.ProtoReflect()
	if field := m.Descriptor().Fields().ByName("type_name"); field != nil {
		m.Set(field, protoreflect.ValueOfString("greetings_card"))
	}
	for name, packed := range fields {
		value := m.Mutable(m.Descriptor().Fields().ByName(protoreflect.Name(name))).Message()
		value.Set(value.Descriptor().Fields().ByName("msgpack"), protoreflect.ValueOfBytes(packed))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := conn.Invoke(ctx, "/tfplugin6.Provider/"+method, request, response); err != nil {
		return nil, err
	}
	answer := response.ProtoReflect()
	if list := answer.Get(answer.Descriptor().Fields().ByName("diagnostics")).List(); list.Len() > 0 {
		return nil, fmt.Errorf("%s: %v", method, list.Get(0))
	}
	return answer, nil
}

func newMessage(name string) (proto.Message, error) {
	t, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName("tfplugin6." + name))
	if err != nil {
		return nil, err
	}
	return t.New().Interface(), nil
}

// dynamic returns a dynamic value of an answer.
func dynamic(m protoreflect.Message, name protoreflect.Name) []byte {
	value := m.Get(m.Descriptor().Fields().ByName(name)).Message()
	return value.Get(value.Descriptor().Fields().ByName("msgpack")).Bytes()
}

func value(t tftypes.Object, fields map[string]tftypes.Value) []byte {
	return encode(t, tftypes.NewValue(t, fields))
}

func encode(t tftypes.Type, v tftypes.Value) []byte {
	packed, err := tfprotov6.NewDynamicValue(t, v)
	if err != nil {
		panic(err) // the values are those of this program
	}
	return packed.MsgPack
}
