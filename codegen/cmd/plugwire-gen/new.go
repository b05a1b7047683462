package main
import ("context";"errors")
func runNew(context.Context, []string, streams) error { return errors.New("TODO") }
func runCheck(context.Context, []string, streams) error { return errors.New("TODO") }
