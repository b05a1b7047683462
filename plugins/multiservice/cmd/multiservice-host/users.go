package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/plugwire/plugwire/plugins/hostcli"
	"github.com/plugwire/plugwire/plugins/multiservice/multi"
)

// rolePrefix begins the names of roles in the protocol, but not on the command
// line.
const rolePrefix = "ROLE_"

// A user is a JSON object of the output.
type user struct {
	Type       string `json:"type"` // "user"
	Name       string `json:"name"`
	Role       string `json:"role"`
	CreateTime string `json:"create_time"` // RFC 3339
}

func printUser(s *hostcli.Session, u *multi.User) error {
	role := strings.ToLower(strings.TrimPrefix(u.GetRole().String(), rolePrefix))
	at := u.GetCreateTime().AsTime()
	return s.Print(fmt.Sprintf("%s, %s, since %s\n", u.GetName(), role, at.Local().Format(time.RFC3339)),
		user{"user", u.GetName(), role, at.Format(time.RFC3339Nano)})
}

// oneName parses the arguments of a command with one argument.
func oneName(command string, name *string) func(args []string) error {
	return func(args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("%s needs one NAME, and has %d", command, len(args))
		}
		*name = args[0]
		return hostcli.CheckText(*name)
	}
}

func createUserCommand() *hostcli.Command {
	request := &multi.CreateUserRequest{Role: multi.Role_ROLE_READER}
	return &hostcli.Command{
		Name:    "create-user",
		Args:    "NAME",
		Summary: "create a user",
		Help: `Creates a user, on behalf of an admin, and prints it. The first user of a
database is an admin, and is created without -as:

  multiservice-host -dir DIR create-user -role admin ann
  multiservice-host -dir DIR create-user -role writer -as ann bob

A reader may query, a writer may also store, and an admin may also create users.
`,
		Flags: func(flags *flag.FlagSet) {
			addCaller(flags, &request.Caller, "; none for the first user")
			flags.Func("role", "`role` of the new user: reader, writer or admin (default reader)", func(text string) error {
				role := multi.Role(multi.Role_value[rolePrefix+strings.ToUpper(text)])
				if role == multi.Role_ROLE_UNSPECIFIED {
					return errors.New("want reader, writer or admin")
				}
				request.Role = role
				return nil
			})
		},
		Parse: oneName("create-user", &request.Name),
		Run: func(ctx context.Context, s *hostcli.Session) error {
			p, err := s.Start(ctx)
			if err != nil {
				return err
			}
			created, err := multi.NewUserServiceClient(p).CreateUser(ctx, request)
			if err != nil {
				return err
			}
			return printUser(s, created)
		},
	}
}

func getUserCommand() *hostcli.Command {
	request := &multi.GetUserRequest{}
	return &hostcli.Command{
		Name:    "get-user",
		Args:    "NAME",
		Summary: "print a user",
		Help:    "Prints a user. An admin may see all, others themselves.\n",
		Flags:   func(flags *flag.FlagSet) { addCaller(flags, &request.Caller, " (default NAME)") },
		Parse:   oneName("get-user", &request.Name),
		Run: func(ctx context.Context, s *hostcli.Session) error {
			p, err := s.Start(ctx)
			if err != nil {
				return err
			}
			if request.Caller == "" {
				request.Caller = request.GetName()
			}
			found, err := multi.NewUserServiceClient(p).GetUser(ctx, request)
			if err != nil {
				return err
			}
			return printUser(s, found)
		},
	}
}
