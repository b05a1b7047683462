package logs

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"time"
)

// maxStamp is longer than any timestamp.
const maxStamp = 40

// writtenTime reads a time in a form of a logger: [cutStamp]'s forms, or the digits
// of a [unixTime].
func writtenTime(s string) (time.Time, bool) {
	if len(s) > maxStamp {
		return time.Time{}, false
	}
	if t, rest, ok := cutStamp([]byte(s)); ok {
		return t, len(rest) == 0 && !t.IsZero() // handlers leave out a zero time
	}
	if len(bytes.TrimLeft([]byte(s), "0123456789")) == 0 {
		return unixTime(s)
	}
	return time.Time{}, false
}

// unixTime reads a number since 1970: zap's seconds with a fraction, zerolog's
// whole seconds, and milli-, micro- or nanoseconds. The size of the number tells
// the unit. A time before 1973 is another kind of number, for example an elapsed
// time.
func unixTime(number string) (time.Time, bool) {
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || f < 1e8 || f >= math.MaxInt64 {
		return time.Time{}, false
	}
	perSecond := int64(1)
	for limit := 1e11; f >= limit && perSecond < 1e9; limit *= 1e3 {
		perSecond *= 1e3
	}
	whole, fraction := math.Modf(f)
	n, err := strconv.ParseInt(number, 10, 64) // exact where a float is not
	if err != nil {
		n = int64(whole)
	}
	unit := 1e9 / perSecond
	// The precision of a float is about a quarter of a microsecond.
	nanos := n%perSecond*unit + int64(math.Round(fraction*float64(unit)/1e3))*1e3
	return time.Unix(n/perSecond, nanos), true
}

// stamp is a time whose parts may be missing.
type stamp struct {
	year       int // 0: not written
	month      int // 0: neither month nor day are written
	day        int
	hour       int
	minute     int
	second     int
	nanosecond int
	comma      bool // before the fraction: Python's, Java's
	zone       *time.Location
}

// cutStamp cuts the timestamp of a line of text from the front of b: a date, which may
// be missing, as "2026-02-03", "2026/02/03", "20260203", "260203", "0203" or "Feb  3";
// a time of day with an optional fraction, after a blank or a T, or "3:04PM"; and a
// zone, without which it is local time. If parts are missing, the time is the one
// nearest to now.
func cutStamp(b []byte) (t time.Time, rest []byte, ok bool) {
	var s stamp
	if rest, ok = s.cut(b); !ok {
		return time.Time{}, b, false
	}
	t, ok = s.time()
	return t, rest, ok
}

// cut is [cutStamp] without computing the time, which costs the most.
func (s *stamp) cut(b []byte) (rest []byte, ok bool) {
	if len(b) == 0 {
		return b, false
	}
	if isDigit(b[0]) {
		rest = s.cutDate(b)
	} else if rest, ok = s.cutMonth(b); !ok {
		return b, false
	}
	if rest, ok = s.cutClock(rest); !ok {
		return b, false
	}
	return s.cutZone(rest), true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// cutNumber cuts exactly n digits.
func cutNumber(b []byte, n int) (number int, rest []byte, ok bool) {
	if len(b) < n {
		return 0, b, false
	}
	for _, c := range b[:n] {
		if !isDigit(c) {
			return 0, b, false
		}
		number = 10*number + int(c-'0')
	}
	return number, b[n:], true
}

// cutByte cuts one of the bytes in set.
func cutByte(b []byte, set string) (c byte, rest []byte, ok bool) {
	if len(b) == 0 || strings.IndexByte(set, b[0]) < 0 {
		return 0, b, false
	}
	return b[0], b[1:], true
}

// digits returns how many digits b begins with.
func digits(b []byte) int {
	n := 0
	for n < len(b) && isDigit(b[n]) {
		n++
	}
	return n
}

// cutDate cuts a date of digits, and the separator between date and time, or
// nothing.
func (s *stamp) cutDate(b []byte) []byte {
	year, month, day, rest, ok := 0, 0, 0, b, false
	switch n := digits(b); {
	case n == len("20260203"):
		year, rest, _ = cutNumber(b, 4)
		month, rest, _ = cutNumber(rest, 2)
		day, rest, ok = cutNumber(rest, 2)
	case n == len("260203"): // Tornado's
		year, rest, _ = cutNumber(b, 2)
		month, rest, _ = cutNumber(rest, 2)
		day, rest, ok = cutNumber(rest, 2)
		year += 2000
	case n == len("0203"):
		var sep byte
		year, rest, _ = cutNumber(b, 4)
		if sep, rest, ok = cutByte(rest, "-/"); !ok { // glog's, without the year
			month, day, year = year/100, year%100, 0
			ok = true
			break
		}
		if month, rest, ok = cutNumber(rest, 2); !ok {
			break
		}
		if ok = len(rest) > 0 && rest[0] == sep; ok {
			day, rest, ok = cutNumber(rest[1:], 2)
		}
	case n == len("02"): // log15's 02-03|04:05:06
		month, rest, _ = cutNumber(b, 2)
		if _, rest, ok = cutByte(rest, "-"); !ok {
			return b // the hour of a time
		}
		if day, rest, ok = cutNumber(rest, 2); ok && (len(rest) == 0 || rest[0] != '|') {
			ok = false
		}
	}
	if !ok || month < 1 || month > 12 || day < 1 || day > 31 {
		return b
	}
	if _, rest, ok = cutByte(rest, " T|_"); !ok {
		return b
	}
	s.year, s.month, s.day = year, month, day
	return rest
}

const months = "JanFebMarAprMayJunJulAugSepOctNovDec"

// cutMonth cuts a date such as "Feb  3 ", "Feb 03 " or "Feb 03, 2026 ".
func (s *stamp) cutMonth(b []byte) (rest []byte, ok bool) {
	const nameLen = 3
	if len(b) <= nameLen || b[nameLen] != ' ' {
		return b, false
	}
	i := bytes.Index([]byte(months), b[:nameLen])
	if i < 0 || i%nameLen != 0 {
		return b, false
	}
	rest = bytes.TrimLeft(b[nameLen:], " ")
	day, rest, ok := cutNumber(rest, min(digits(rest), 2))
	if !ok {
		return b, false
	}
	year := 0
	if _, after, comma := cutByte(rest, ","); comma {
		if year, rest, ok = cutNumber(bytes.TrimLeft(after, " "), 4); !ok {
			return b, false
		}
	}
	if _, rest, ok = cutByte(rest, " "); !ok {
		return b, false
	}
	s.month, s.day, s.year = i/nameLen+1, day, year
	return rest, 1 <= day && day <= 31
}

// cutClock cuts a time of day.
func (s *stamp) cutClock(b []byte) (rest []byte, ok bool) {
	n := digits(b)
	if n == 0 || n > 2 {
		return b, false
	}
	if s.hour, rest, _ = cutNumber(b, n); len(rest) == 0 {
		return b, false
	}
	if _, rest, ok = cutByte(rest, ":"); !ok {
		return b, false
	}
	if s.minute, rest, ok = cutNumber(rest, 2); !ok {
		return b, false
	}
	seconds := false
	if _, after, colon := cutByte(rest, ":"); colon {
		if s.second, rest, seconds = cutNumber(after, 2); !seconds {
			return b, false
		}
	}
	if dot, after, ok := cutByte(rest, ".,"); ok && seconds && digits(after) > 0 {
		s.comma = dot == ','
		rest = s.cutFraction(after)
	}
	half := bytes.TrimLeft(rest, " ")
	switch {
	case bytes.HasPrefix(half, []byte("PM")):
		s.hour, rest = s.hour%12+12, half[2:]
	case bytes.HasPrefix(half, []byte("AM")):
		s.hour, rest = s.hour%12, half[2:]
	case !seconds || n != 2:
		return b, false // "3:04" may mean anything
	}
	return rest, true
}

func (s *stamp) cutFraction(b []byte) (rest []byte) {
	unit := int(time.Second)
	for len(b) > 0 && isDigit(b[0]) {
		unit /= 10
		s.nanosecond += int(b[0]-'0') * unit
		b = b[1:]
	}
	return b
}

// cutZone cuts a zone, if there is one: "Z", "+01:00", "+0100" or "+01", also after
// a blank, or " UTC".
func (s *stamp) cutZone(b []byte) []byte {
	s.zone = time.Local
	if _, rest, ok := cutByte(b, "Z"); ok {
		s.zone = time.UTC
		return rest
	}
	rest := b
	if len(b) > 0 && b[0] == ' ' {
		rest = b[1:]
	}
	if after, ok := bytes.CutPrefix(rest, []byte("UTC")); ok {
		s.zone = time.UTC
		return after
	}
	sign, rest, ok := cutByte(rest, "+-")
	if !ok {
		return b
	}
	hour, rest, ok := cutNumber(rest, 2)
	if !ok {
		return b
	}
	minute := 0
	after := rest
	if len(after) > 0 && after[0] == ':' {
		after = after[1:]
	}
	if m, after, ok := cutNumber(after, 2); ok {
		minute, rest = m, after
	} else if len(rest) > 0 && rest[0] == ':' {
		return b
	}
	if hour > 24 || minute > 59 {
		return b
	}
	offset := (hour*60 + minute) * 60
	if sign == '-' {
		offset = -offset
	}
	s.zone = time.UTC
	if offset != 0 {
		s.zone = time.FixedZone("", offset)
	}
	return rest
}

// time returns the time of the stamp. It reports false if there is no such time.
func (s *stamp) time() (time.Time, bool) {
	if s.hour > 23 || s.minute > 59 || s.second > 60 {
		return time.Time{}, false
	}
	now := time.Now().In(s.zone)
	switch {
	case s.month == 0:
		t := s.on(now.Year(), int(now.Month()), now.Day())
		return nearest(now, t.AddDate(0, 0, -1), t, t.AddDate(0, 0, 1)), true
	case s.year == 0:
		year := now.Year()
		t := nearest(now, s.on(year-1, s.month, s.day), s.on(year, s.month, s.day), s.on(year+1, s.month, s.day))
		return t, true
	default:
		t := s.on(s.year, s.month, s.day)
		return t, t.Day() == s.day || s.second == 60
	}
}

func (s *stamp) on(year, month, day int) time.Time {
	return time.Date(year, time.Month(month), day, s.hour, s.minute, s.second, s.nanosecond, s.zone)
}

// nearest returns the one of times that is nearest to now.
func nearest(now time.Time, times ...time.Time) time.Time {
	best := times[0]
	for _, t := range times[1:] {
		if now.Sub(t).Abs() < now.Sub(best).Abs() {
			best = t
		}
	}
	return best
}
