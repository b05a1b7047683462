package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/plugwire/plugwire/plugins/hostcli"
	"github.com/plugwire/plugwire/plugins/multiservice/multi"
)

// maxPageSize is the limit of a page's entries in multi.proto.
const maxPageSize = 1000

// These are the JSON objects of the output.
type (
	entry struct {
		Type        string `json:"type"` // "entry"
		Key         string `json:"key"`
		Value       string `json:"value"`
		ValueBase64 []byte `json:"value_base64,omitempty"` // replaces Value if it is not UTF-8
		Version     int64  `json:"version"`
		UpdatedBy   string `json:"updated_by"`
		UpdateTime  string `json:"update_time"` // RFC 3339
	}
	page struct {
		Type          string `json:"type"` // "page"
		Entries       int    `json:"entries"`
		NextPageToken string `json:"next_page_token"`
	}
)

// A querying is the query command, with its flags.
type querying struct {
	request multi.QueryRequest
	onePage bool
}

func queryCommand() *hostcli.Command {
	q := &querying{}
	return &hostcli.Command{
		Name:    "query",
		Args:    "[PREFIX]",
		Summary: "print the entries whose keys begin with a prefix",
		Help: `Prints the entries whose keys begin with PREFIX, or all, on behalf of any user, in
the order of the keys' bytes: key, value, version, and the user and time of storing,
separated by tabs. Keys and values are quoted.

The plugin returns them a page at a time. With -one-page the command ends after
one, and its last line has the flag for the next one, now or some day:

  multiservice-host -dir DIR query -as ann -one-page -page-size 10 invoices/
  multiservice-host -dir DIR query -as ann -one-page -page-token TOKEN invoices/
`,
		Flags: q.flags,
		Parse: withCaller(&q.request.Caller, func(args []string) error {
			switch len(args) {
			case 0:
				return nil
			case 1:
				q.request.Prefix = args[0]
				return hostcli.CheckText(args[0])
			default:
				return fmt.Errorf("query needs at most one PREFIX, and has %d", len(args))
			}
		}),
		Run: q.run,
	}
}

func (q *querying) flags(flags *flag.FlagSet) {
	addCaller(flags, &q.request.Caller, " (required)")
	flags.Func("page-size", fmt.Sprintf("most entries of a page, a `number` from 1 to %d (default 50)", maxPageSize), func(text string) error {
		size, err := strconv.ParseInt(text, 10, 32)
		if err != nil || size < 1 || size > maxPageSize {
			return fmt.Errorf("want a number from 1 to %d", maxPageSize)
		}
		q.request.PageSize = int32(size)
		return nil
	})
	flags.Func("page-token", "begin with the page of this `token`", func(token string) error {
		q.request.PageToken = token
		return hostcli.CheckText(token)
	})
	flags.BoolVar(&q.onePage, "one-page", false, "end after one page")
}

func (q *querying) run(ctx context.Context, s *hostcli.Session) error {
	p, err := s.Start(ctx)
	if err != nil {
		return err
	}
	return q.print(ctx, multi.NewDataServiceClient(p), s)
}

// print prints the pages that the flags ask for.
func (q *querying) print(ctx context.Context, client multi.DataServiceClient, s *hostcli.Session) error {
	for {
		response, err := client.QueryData(ctx, &q.request)
		if err != nil {
			return err
		}
		if len(response.GetEntries()) == 0 && response.GetNextPageToken() != "" {
			// The protocol forbids it, because such pages could follow each
			// other without end.
			return errors.New("the plugin answered with a page without entries that is not the last one")
		}
		for _, e := range response.GetEntries() {
			if err := printEntry(s, e); err != nil {
				return err
			}
		}
		next := response.GetNextPageToken()
		switch {
		case q.onePage:
			return printPage(s, response)
		case next == "":
			return nil
		}
		q.request.PageToken = next
	}
}

func printEntry(s *hostcli.Session, e *multi.Entry) error {
	at := e.GetUpdateTime().AsTime()
	object := entry{"entry", e.GetKey(), string(e.GetValue()), nil, e.GetVersion(), e.GetUpdatedBy(), at.Format(time.RFC3339Nano)}
	if !utf8.Valid(e.GetValue()) {
		object.Value, object.ValueBase64 = "", e.GetValue()
	}
	return s.Print(fmt.Sprintf("%q\t%q\t%d\t%s\t%s\n",
		e.GetKey(), e.GetValue(), e.GetVersion(), e.GetUpdatedBy(), at.Local().Format(time.RFC3339)), object)
}

// printPage prints how to get the next page. As text, it prints only if there
// is one.
func printPage(s *hostcli.Session, response *multi.QueryResponse) error {
	text := ""
	if next := response.GetNextPageToken(); next != "" {
		text = "next page: -page-token " + next + "\n"
	}
	return s.Print(text, page{"page", len(response.GetEntries()), response.GetNextPageToken()})
}
