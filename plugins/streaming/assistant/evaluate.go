package assistant

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// maxDepth is how deeply an expression may be nested: more than people write,
// and little of a goroutine's stack.
const maxDepth = 100

// Evaluate returns the value of an expression of decimal numbers, + - * / ^ and
// parentheses, with the usual precedence: ^ before a sign before * and / before
// + and -. ^ is right-associative. White space is ignored.
func Evaluate(expression string) (float64, error) {
	p := &parser{rest: expression}
	value, err := p.sum()
	if err != nil {
		return 0, err
	}
	if p.skip(); p.rest != "" {
		return 0, p.unexpected()
	}
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return 0, errors.New("the value is not a number that I can hold")
	}
	return value, nil
}

// A parser evaluates while it reads.
type parser struct {
	rest  string
	depth int
}

// sum is product { ("+" | "-") product }.
func (p *parser) sum() (float64, error) {
	value, err := p.product()
	for err == nil {
		var next float64
		switch {
		case p.take('+'):
			next, err = p.product()
			value += next
		case p.take('-'):
			next, err = p.product()
			value -= next
		default:
			return value, nil
		}
	}
	return 0, err
}

// product is signed { ("*" | "/") signed }.
func (p *parser) product() (float64, error) {
	value, err := p.signed()
	for err == nil {
		var next float64
		switch {
		case p.take('*'):
			next, err = p.signed()
			value *= next
		case p.take('/'):
			if next, err = p.signed(); err == nil && next == 0 {
				err = errors.New("it divides by zero")
			}
			value /= next
		default:
			return value, nil
		}
	}
	return 0, err
}

// signed is [ "+" | "-" ] signed | power. Every nested expression goes through
// here.
func (p *parser) signed() (float64, error) {
	if p.depth++; p.depth > maxDepth {
		return 0, fmt.Errorf("the expression is nested more than %d deep", maxDepth)
	}
	defer func() { p.depth-- }()
	switch {
	case p.take('+'):
		return p.signed()
	case p.take('-'):
		value, err := p.signed()
		return -value, err
	}
	return p.power()
}

// power is operand [ "^" signed ].
func (p *parser) power() (float64, error) {
	base, err := p.operand()
	if err != nil || !p.take('^') {
		return base, err
	}
	exponent, err := p.signed()
	return math.Pow(base, exponent), err
}

// operand is number | "(" sum ")".
func (p *parser) operand() (float64, error) {
	if p.take('(') {
		value, err := p.sum()
		if err != nil {
			return 0, err
		}
		if !p.take(')') {
			return 0, p.unexpected()
		}
		return value, nil
	}
	p.skip()
	digits := p.rest[:len(p.rest)-len(strings.TrimLeft(p.rest, "0123456789."))]
	if digits == "" {
		return 0, p.unexpected()
	}
	value, err := strconv.ParseFloat(digits, 64)
	if err != nil {
		return 0, fmt.Errorf("%.40s is not a number that I can hold", digits)
	}
	p.rest = p.rest[len(digits):]
	return value, nil
}

// take consumes a character if it is the next.
func (p *parser) take(c byte) bool {
	p.skip()
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

func (p *parser) skip() { p.rest = strings.TrimLeft(p.rest, " \t\n") }

func (p *parser) unexpected() error {
	if p.rest == "" {
		return errors.New("the expression is incomplete")
	}
	return fmt.Errorf("%q is not expected", []rune(p.rest)[0])
}
