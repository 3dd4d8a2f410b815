package schemas

import (
	"strconv"
	"strings"
	"time"
)

// calendar is a date of the proleptic Gregorian calendar as it is printed.
type calendar struct {
	year, month, day int
	bc               bool // the year is one before Christ
}

// scanDate reads YYYY-MM-DD with four to seven digits of the year, and returns
// what follows it.
func scanDate(text string) (c calendar, rest string, ok bool) {
	i := 0
	for i < len(text) && i < 7 && '0' <= text[i] && text[i] <= '9' {
		c.year = c.year*10 + int(text[i]-'0')
		i++
	}
	if i < 4 || (i > 4 && text[0] == '0') || len(text) < i+6 || text[i] != '-' || text[i+3] != '-' {
		return c, "", false
	}
	var monthOK, dayOK bool
	c.month, monthOK = twoDigits(text[i+1:])
	c.day, dayOK = twoDigits(text[i+4:])
	return c, text[i+6:], monthOK && dayOK && c.month <= 12 && c.day <= 31
}

// twoDigits reads the first two bytes of text as a number.
func twoDigits(text string) (int, bool) {
	if len(text) < 2 || text[0] < '0' || text[0] > '9' || text[1] < '0' || text[1] > '9' {
		return 0, false
	}
	return int(text[0]-'0')*10 + int(text[1]-'0'), true
}

// astronomical is the year in which 0 is 1 BC.
func (c calendar) astronomical() int {
	if c.bc {
		return 1 - c.year
	}
	return c.year
}

// exists says whether there is such a day: MySQL also holds zero dates, and
// days like the 31st of February.
func (c calendar) exists() bool {
	return c.year > 0 && c.month > 0 && c.day > 0 && c.day <= daysIn(c.astronomical(), c.month)
}

// limits says who cannot hold the date. MySQL and MariaDB hold the years 1 to
// 9999, and days that do not exist.
func (c calendar) limits() limits {
	switch {
	case !c.exists():
		return beyondPostgres
	case c.bc || c.year > 9999:
		return beyondMySQL
	}
	return 0
}

func daysIn(year, month int) int {
	switch month {
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

func (c calendar) append(dst []byte) []byte {
	dst = appendPadded(dst, c.year, 4)
	dst = append(dst, '-')
	dst = appendPadded(dst, c.month, 2)
	dst = append(dst, '-')
	return appendPadded(dst, c.day, 2)
}

// appendEra ends the text of a date or timestamp.
func (c calendar) appendEra(dst []byte) []byte {
	if c.bc {
		return append(dst, " BC"...)
	}
	return dst
}

// appendPadded appends n with at least width digits.
func appendPadded(dst []byte, n, width int) []byte {
	if width == 2 && 0 <= n && n < 100 {
		return append(dst, byte('0'+n/10), byte('0'+n%10))
	}
	for limit := 10; width > 1; limit, width = limit*10, width-1 {
		if n < limit {
			dst = append(dst, "000000"[:width-1]...)
			break
		}
	}
	return strconv.AppendInt(dst, int64(n), 10)
}

// clock is a time of day, or a length of time.
type clock struct {
	hour, minute, second int
	fraction             string // its digits
}

// scanClock reads HH:MM:SS[.digits], and returns what follows it. Hours have
// two or three digits.
func scanClock(text string) (c clock, rest string, ok bool) {
	hours, text := cutDigits(text)
	if len(hours) < 2 || len(hours) > 3 || len(text) < 6 || text[0] != ':' || text[3] != ':' {
		return c, "", false
	}
	for i := range len(hours) {
		c.hour = c.hour*10 + int(hours[i]-'0')
	}
	var minuteOK, secondOK bool
	c.minute, minuteOK = twoDigits(text[1:])
	c.second, secondOK = twoDigits(text[4:])
	if !minuteOK || !secondOK || c.minute > 59 || c.second > 59 {
		return c, "", false
	}
	text = text[6:]
	if strings.HasPrefix(text, ".") {
		if c.fraction, text = cutDigits(text[1:]); c.fraction == "" {
			return c, "", false
		}
	}
	return c, text, true
}

// append appends HH:MM:SS and precision digits of the fraction.
func (c clock) append(dst []byte, fraction, precision int) []byte {
	dst = appendPadded(dst, c.hour, 2)
	dst = append(dst, ':')
	dst = appendPadded(dst, c.minute, 2)
	dst = append(dst, ':')
	dst = appendPadded(dst, c.second, 2)
	if precision == 0 {
		return dst
	}
	dst = append(dst, '.')
	return appendPadded(dst, fraction, precision)
}

// granularity is to how many digits of a second times are compared, and what
// becomes of the digits beyond.
type granularity struct {
	precision int  // 0 to 6
	truncate  bool // cut them; otherwise round half up
}

func (g granularity) declared(name string) string {
	name += "(" + strconv.Itoa(g.precision)
	if g.truncate {
		return name + ",truncate)"
	}
	return name + ")"
}

// reduce returns the fraction in units of 10^-precision seconds; carry says
// that it rounds up to a second more.
func (g granularity) reduce(digits string) (fraction int, carry bool) {
	limit := 1
	for i := range g.precision {
		fraction *= 10
		limit *= 10
		if i < len(digits) {
			fraction += int(digits[i] - '0')
		}
	}
	if !g.truncate && len(digits) > g.precision && digits[g.precision] >= '5' {
		fraction++
	}
	if fraction == limit {
		return 0, true
	}
	return fraction, false
}

// scanZone reads an offset from UTC: nothing, Z, or ±HH[:MM[:SS]].
func scanZone(text string) (seconds int, ok bool) {
	if text == "" || text == "Z" || text == "+00" {
		return 0, true
	}
	if text[0] != '+' && text[0] != '-' {
		return 0, false
	}
	sign, text := text[0], text[1:]
	for unit := 3600; text != ""; unit /= 60 {
		n, ok := twoDigits(text)
		if !ok || unit == 0 || (unit < 3600 && n > 59) {
			return 0, false
		}
		seconds += n * unit
		text = text[2:]
		if text == "" {
			break
		}
		if text[0] != ':' || len(text) == 1 {
			return 0, false
		}
		text = text[1:]
	}
	if sign == '-' {
		return -seconds, true
	}
	return seconds, true
}

// dateType is a day.
type dateType struct{}

func (dateType) declared() string { return typeDate }

func (dateType) canon(dst []byte, text string) ([]byte, limits, error) {
	const wrong = unreadable("not a date")
	if text == "infinity" || text == "-infinity" {
		return append(dst, text...), beyondMySQL, nil
	}
	text, bc := strings.CutSuffix(text, " BC")
	c, rest, ok := scanDate(text)
	c.bc = bc
	if !ok || (bc && !c.exists()) {
		return dst, 0, wrong
	}
	if rest != "" && !midnight(rest) {
		return dst, 0, unreadable("a date with a time of day, not a date")
	}
	return c.appendEra(c.append(dst)), c.limits(), nil
}

// midnight says whether what follows a date is a separator and the time of day
// with which the date begins.
func midnight(rest string) bool {
	if rest[0] != ' ' && rest[0] != 'T' {
		return false
	}
	c, rest, ok := scanClock(rest[1:])
	return ok && rest == "" && c.hour+c.minute+c.second == 0 && strings.Trim(c.fraction, "0") == ""
}

func (dateType) write(dst []byte, canonical string, _ Driver) []byte {
	return append(dst, canonical...)
}

// timeType is a time of day. MySQL's TIME also holds lengths of up to 838
// hours either way.
type timeType struct{ granularity }

func (t timeType) declared() string { return t.granularity.declared(typeTime) }

func (t timeType) canon(dst []byte, text string) ([]byte, limits, error) {
	text, neg := strings.CutPrefix(text, "-")
	c, rest, ok := scanClock(text)
	if !ok {
		return dst, 0, unreadable("not a time of day")
	}
	if offset, ok := scanZone(rest); !ok || offset != 0 {
		return dst, 0, unreadable("a time of day in a time zone other than UTC")
	}
	fraction, carry := t.reduce(c.fraction)
	if carry {
		c.addSecond()
	}
	zero := c.hour == 0 && c.minute == 0 && c.second == 0 && fraction == 0
	var limit limits
	if (neg && !zero) || c.hour > 24 || (c.hour == 24 && (c.minute != 0 || c.second != 0 || fraction != 0)) {
		limit = beyondPostgres
	}
	if neg && !zero {
		dst = append(dst, '-')
	}
	return c.append(dst, fraction, t.precision), limit, nil
}

func (c *clock) addSecond() {
	c.second++
	if c.second == 60 {
		c.second, c.minute = 0, c.minute+1
	}
	if c.minute == 60 {
		c.minute, c.hour = 0, c.hour+1
	}
}

func (timeType) write(dst []byte, canonical string, _ Driver) []byte {
	return append(dst, canonical...)
}

// timestampType is a point in time: in UTC where the text names no zone.
type timestampType struct{ granularity }

func (t timestampType) declared() string { return t.granularity.declared(typeTimestamp) }

func (t timestampType) canon(dst []byte, text string) ([]byte, limits, error) {
	if form, ok := t.common(text); ok {
		start := len(dst)
		dst = append(append(dst, form...), 'Z')
		dst[start+len("2006-01-02")] = 'T'
		return dst, 0, nil
	}
	return t.any(dst, text)
}

// any reads every form.
func (t timestampType) any(dst []byte, text string) ([]byte, limits, error) {
	const wrong = unreadable("not a timestamp")
	if text == "infinity" || text == "-infinity" {
		return append(dst, text...), beyondMySQL, nil
	}
	text, bc := strings.CutSuffix(text, " BC")
	date, rest, ok := scanDate(text)
	date.bc = bc
	if !ok || (bc && !date.exists()) {
		return dst, 0, wrong
	}
	var c clock
	if rest != "" {
		if rest[0] != ' ' && rest[0] != 'T' {
			return dst, 0, wrong
		}
		if c, rest, ok = scanClock(rest[1:]); !ok || c.hour > 23 {
			return dst, 0, wrong
		}
	}
	offset, ok := scanZone(rest)
	if !ok {
		return dst, 0, wrong
	}
	fraction, carry := t.reduce(c.fraction)
	if carry || offset != 0 {
		if !date.exists() {
			return dst, 0, unreadable("a day that does not exist, and not in UTC")
		}
		date, c = shift(date, c, carry, offset)
	}
	dst = append(date.append(dst), 'T')
	dst = append(c.append(dst, fraction, t.precision), 'Z')
	return date.appendEra(dst), date.limits(), nil
}

// common returns a text without its zone if that is UTC, its fraction has as many
// digits as are compared, and its day is one that every calendar has, as of nearly
// all timestamps: but for one letter it is canonical.
func (t timestampType) common(text string) (form string, ok bool) {
	size := len("2006-01-02 15:04:05")
	if t.precision > 0 {
		size += 1 + t.precision
	}
	if len(text) != size {
		if len(text) != size+len("+00") || text[size:] != "+00" {
			return "", false
		}
		text = text[:size]
	}
	ok = text[4] == '-' && text[7] == '-' && (text[10] == ' ' || text[10] == 'T') && text[13] == ':' && text[16] == ':' &&
		allDigits(text[:4]) && allDigits(text[5:7]) && allDigits(text[8:10]) && allDigits(text[11:13]) && allDigits(text[14:16]) && allDigits(text[17:19]) &&
		(t.precision == 0 || text[19] == '.' && allDigits(text[20:]))
	if !ok {
		return "", false
	}
	ordinary := text[:4] != "0000" && text[5:7] >= "01" && text[5:7] <= "12" && text[8:10] >= "01" && text[8:10] <= "28" &&
		text[11:13] <= "23" && text[14] <= '5' && text[17] <= '5'
	return text, ordinary
}

func allDigits(text string) bool {
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	return true
}

// shift moves a point in time to UTC, and on by a second if carry.
func shift(d calendar, c clock, carry bool, offset int) (calendar, clock) {
	t := time.Date(d.astronomical(), time.Month(d.month), d.day, c.hour, c.minute, c.second, 0, time.UTC)
	if carry {
		offset--
	}
	t = t.Add(-time.Duration(offset) * time.Second)
	d = calendar{year: t.Year(), month: int(t.Month()), day: t.Day()}
	if d.year <= 0 {
		d.year, d.bc = 1-d.year, true
	}
	return d, clock{hour: t.Hour(), minute: t.Minute(), second: t.Second()}
}

func (timestampType) write(dst []byte, canonical string, d Driver) []byte {
	day, rest, ok := strings.Cut(canonical, "T")
	if !ok {
		return append(dst, canonical...) // infinity
	}
	time, era, _ := strings.Cut(rest, "Z")
	dst = append(dst, day...)
	dst = append(dst, ' ')
	dst = append(dst, time...)
	if d == Postgres {
		dst = append(dst, "+00"...) // a column without time zone ignores it
	}
	return append(dst, era...)
}
